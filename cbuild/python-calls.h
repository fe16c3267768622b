/*
 * What libpysk.so calls in Python (the prefix makes them callbacks that C files share), and what Python calls back for:
 * the host frees what we return with free(), so it must come from the C library's allocator.
 */
extern "Python+C" int pysk_enroll(uint32_t alg, const uint8_t *challenge,
    size_t challenge_len, const char *application, uint8_t flags,
    const char *pin, struct sk_option **options,
    struct sk_enroll_response **enroll_response);

extern "Python+C" int pysk_sign(uint32_t alg, const uint8_t *data,
    size_t data_len, const char *application, const uint8_t *key_handle,
    size_t key_handle_len, uint8_t flags, const char *pin,
    struct sk_option **options, struct sk_sign_response **sign_response);

extern "Python+C" int pysk_load_resident_keys(const char *pin,
    struct sk_option **options, struct sk_resident_key ***resident_keys,
    size_t *resident_key_count);

void *calloc(size_t count, size_t size);
void free(void *allocation);
int pysk_has_memory(size_t size);
void pysk_import_signal(void);
int pysk_interrupted(void);
int pysk_is_helper(void);
int pysk_is_privileged(void);
int pysk_owns_python(void);
void pysk_unwatch_interrupts(void);
void pysk_watch_interrupts(void);
void pysk_log(const char *line);
void pysk_log_record(const char *line);
const char *pysk_site_packages(void);
const char *pysk_start_code(void);
size_t pysk_start_code_size(void);
void pysk_start_failed(const char *sentence);
int pysk_write_stderr(const char *line);
