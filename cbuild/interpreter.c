/*
 * The start of Python, once per process: our own interpreter, which neither the environment nor the working
 * directory can reach, or the one that the host already runs. It is never ended: hosts unload us and go on.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/auxv.h>
#endif

#include "pysk.h"
#if PY_VERSION_HEX >= 0x030b0000
#define HAS_FROZEN_MODULES
#include "pysk-frozen.h"
#endif

#define REINSTALL "reinstall libpysk"

/* Twice what Python takes until it has signed, of any version that we know; without it, Python aborts as it starts. */
#define START_MEMORY ((size_t)10 << 20)

static pthread_once_t version_once = PTHREAD_ONCE_INIT;
static pthread_once_t start_once = PTHREAD_ONCE_INIT;
static int version_fits;
static char start_failure[PYSK_SENTENCE_MAX];
static int owns_python;
static char site_packages[PATH_MAX];
static struct stat first_root;

void
pysk_start_failed(const char *sentence)
{
	size_t i;

	snprintf(start_failure, sizeof(start_failure), "%s", sentence);
	for (i = 0; start_failure[i] != '\0'; i++) {
		if ((unsigned char)start_failure[i] < ' ' ||
		    start_failure[i] == 0x7f)
			start_failure[i] = ' ';
	}
}

#ifdef Py_GIL_DISABLED
#define FREE_THREADING 1
#else
#define FREE_THREADING 0
#endif

static const char *
gil_of(int free_threading)
{
	return free_threading ? " without a GIL" : "";
}

/*
 * Refuses a Python, the one whose symbols we were bound to, that is not the one that we were compiled for. Once only:
 * Py_GetVersion() writes its answer anew at each call, which a second thread must not read halfway.
 */
static void
check_version(void)
{
	char minor[16], sentence[PYSK_SENTENCE_MAX];
	const char *version = Py_GetVersion();
	int len = (int)strcspn(version, " "), free_threading;

	snprintf(minor, sizeof(minor), "%d.%d.", PY_MAJOR_VERSION,
	    PY_MINOR_VERSION);
	version_fits = strncmp(version, minor, strlen(minor)) == 0;
	/* Until a version is released, its bytecode and its structures change. */
	if (PY_RELEASE_LEVEL != PY_RELEASE_LEVEL_FINAL ||
	    (int)strcspn(version, "abr") < len)
		version_fits = len == (int)strlen(PY_VERSION) &&
		    strncmp(version, PY_VERSION, (size_t)len) == 0;
	free_threading = strstr(version, "free-threading") != NULL;
	version_fits = version_fits && free_threading == FREE_THREADING;
	if (version_fits)
		return;
	snprintf(sentence, sizeof(sentence),
	    "this process runs Python %.*s%s, but the library was built for "
	    "Python %s%s; install libpysk for that Python",
	    len, version, gil_of(free_threading), PY_VERSION,
	    gil_of(FREE_THREADING));
	pysk_start_failed(sentence);
}

/* Hosts open us RTLD_LOCAL, but Python's extension modules look for libpython's symbols among the global ones. */
static int
promote_libpython(void)
{
	Dl_info libpython;

	if (dladdr((void *)(uintptr_t)&Py_InitializeFromConfig, &libpython) == 0 ||
	    dlopen(libpython.dli_fname,
	    RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD) == NULL)
		return -1;
	return 0;
}

#ifdef PYSK_SITE_PACKAGES
/* An installation for everybody stays where it was made, while hosts load the library from another place. */
static int
find_site_packages(void)
{
	_Static_assert(sizeof(PYSK_SITE_PACKAGES) <= sizeof(site_packages),
	    "a path that is too long");
	strcpy(site_packages, PYSK_SITE_PACKAGES);
	return 0;
}
#else
/*
 * The path of the file that an address of this library's is mapped from. The dynamic linker has the working directory
 * of dlopen() in dlinfo(RTLD_DI_ORIGIN), but crashes there if that directory was unreachable.
 */
static int
find_mapped_file(uintptr_t address, char path[PATH_MAX])
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char *line = NULL;
	size_t size = 0;
	uintptr_t from, to;
	int name, result = -1;

	while (maps != NULL && getline(&line, &size, maps) != -1) {
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %*s %*s %*s %n",
		    &from, &to, &name) != 2 || address < from || address >= to)
			continue;
		line[strcspn(line, "\n")] = '\0';
		if (line[name] == '/' && realpath(line + name, path) != NULL)
			result = 0;
		break;
	}
	free(line);
	if (maps != NULL)
		fclose(maps);
	return result;
}

/* The folder that holds the package that holds this library: our site-packages. */
static int
find_site_packages(void)
{
	Dl_info self;
	uintptr_t address = (uintptr_t)&pysk_start_python;
	char *slash;
	int found, levels;

	/* A relative path would begin at the working directory that the process has by now. */
	if (dladdr((void *)address, &self) != 0 && self.dli_fname[0] == '/')
		found = realpath(self.dli_fname, site_packages) != NULL ? 0 : -1;
	else
		found = find_mapped_file(address, site_packages);
	if (found != 0) {
		pysk_start_failed("the library cannot find its own file; "
		    "give its absolute path, as 'pysk path' prints it");
		return -1;
	}
	for (levels = 0; levels < 2; levels++) {
		if ((slash = strrchr(site_packages, '/')) != NULL)
			*slash = '\0';
	}
	return 0;
}
#endif

const char *
pysk_site_packages(void)
{
	return site_packages;
}

static PyStatus
set_path(PyConfig *config, wchar_t **member, const char *path)
{
	return PyConfig_SetBytesString(config, member, path);
}

static PyStatus
append_search_path(PyConfig *config, const char *path)
{
	PyStatus status;
	wchar_t *decoded = NULL;

	status = PyConfig_SetBytesString(config, &decoded, path);
	if (!PyStatus_Exception(status))
		status = PyWideStringList_Append(&config->module_search_paths,
		    decoded);
	PyMem_RawFree(decoded);
	return status;
}

static PyStatus
initialize_isolated(PyConfig *config)
{
	PyPreConfig preconfig;
	PyStatus status;

#ifdef HAS_FROZEN_MODULES
	/* Before Python 3.11 this table would take the place of that of Python's own. */
	PyImport_FrozenModules = frozen_modules;
#endif
	PyPreConfig_InitIsolatedConfig(&preconfig);
	preconfig.utf8_mode = 1;
	status = Py_PreInitialize(&preconfig);
	if (PyStatus_Exception(status))
		return status;

	PyConfig_InitIsolatedConfig(config);
	config->site_import = 0;
	config->install_signal_handlers = 0;
	config->write_bytecode = 0;
	config->pathconfig_warnings = 0;
	config->module_search_paths_set = 1;

	/* An absolute name keeps Python from looking for itself along PATH. */
	struct {
		wchar_t **member;
		const char *path;
	} const paths[] = {
		{ &config->program_name, PYSK_PREFIX "/bin/libpysk" },
		{ &config->executable, "" },
		{ &config->home, PYSK_PREFIX },
		{ &config->prefix, PYSK_PREFIX },
		{ &config->base_prefix, PYSK_PREFIX },
		{ &config->exec_prefix, PYSK_EXEC_PREFIX },
		{ &config->base_exec_prefix, PYSK_EXEC_PREFIX },
	};
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		status = set_path(config, paths[i].member, paths[i].path);
		if (PyStatus_Exception(status))
			return status;
	}

	/* The standard library comes first, so that no installed package can take the place of one of its modules. */
	const char *const search[] = { PYSK_STDLIB, PYSK_DYNLOAD, site_packages };
	for (size_t i = 0; i < sizeof(search) / sizeof(search[0]); i++) {
		status = append_search_path(config, search[i]);
		if (PyStatus_Exception(status))
			return status;
	}
	return Py_InitializeFromConfig(config);
}

/*
 * Lets Python look for cyclic garbage more rarely. By default it does so dozens of times while it imports, when there
 * is none; a host that lives long is still kept clean.
 */
static void
collect_garbage_rarely(void)
{
	PyObject *gc = PyImport_ImportModule("gc"), *done = NULL;

	if (gc != NULL)
		done = PyObject_CallMethod(gc, "set_threshold", "i", 50000);
	PyErr_Clear();
	Py_XDECREF(done);
	Py_XDECREF(gc);
}

/* Starts our own Python and leaves it without a holder of its lock, as CFFI expects it. */
static int
start_own_python(void)
{
	PyConfig config;
	PyStatus status;
	char sentence[PYSK_SENTENCE_MAX];

	/* Python reports the absence of its library in two dozen lines. */
	if (access(PYSK_STDLIB "/encodings/__init__.py", R_OK) != 0) {
		pysk_start_failed("Python's standard library is not in "
		    PYSK_STDLIB "; install the Python that libpysk was "
		    "installed with, or " REINSTALL);
		return -1;
	}
	memset(&config, 0, sizeof(config));
	status = initialize_isolated(&config);
	PyConfig_Clear(&config);
	if (PyStatus_Exception(status)) {
		snprintf(sentence, sizeof(sentence),
		    "Python %d.%d cannot start (%s); check that its standard "
		    "library is in %s, or " REINSTALL, PY_MAJOR_VERSION,
		    PY_MINOR_VERSION,
		    status.err_msg != NULL ? status.err_msg : "no reason given",
		    PYSK_STDLIB);
		pysk_start_failed(sentence);
		return -1;
	}
	/* Some hosts speak a protocol on stdout. */
	PySys_SetObject("stdout", PySys_GetObject("stderr"));
	collect_garbage_rarely();
	PyEval_SaveThread();
	return 0;
}

/* Describes and clears the Python error that is set. */
static void
describe_error(char *description, size_t size)
{
	PyObject *type, *value, *traceback, *text = NULL;
	const char *utf8 = NULL;

	PyErr_Fetch(&type, &value, &traceback);
	if (value != NULL && (text = PyObject_Str(value)) != NULL)
		utf8 = PyUnicode_AsUTF8(text);
	snprintf(description, size, "%s", utf8 != NULL ? utf8 : "no reason given");
	PyErr_Clear();
	Py_XDECREF(text);
	Py_XDECREF(type);
	Py_XDECREF(value);
	Py_XDECREF(traceback);
}

/*
 * Finds CFFI's run-time module, which the generated code needs, before that code reports its absence in a dozen
 * lines. Looking in site-packages first saves reading the standard library's folders for it.
 */
static int
import_cffi_backend(PyObject *search_path, PyObject *folder, int own)
{
	PyObject *backend = NULL;
	char reason[PYSK_SENTENCE_MAX / 2], sentence[PYSK_SENTENCE_MAX];
	int prepended;

	prepended = own && PyList_Insert(search_path, 0, folder) == 0;
	backend = PyImport_ImportModule("_cffi_backend");
	if (backend == NULL) {
		describe_error(reason, sizeof(reason));
		snprintf(sentence, sizeof(sentence),
		    "the Python package cffi cannot be loaded (%s); " REINSTALL,
		    reason);
		pysk_start_failed(sentence);
	}
	if (prepended)
		PySequence_DelItem(search_path, 0);
	Py_XDECREF(backend);
	return backend != NULL ? 0 : -1;
}

/* With the GIL held: makes everything ready for CFFI's part of the start. */
static int
prepare_imports(int own)
{
	PyObject *search_path = PySys_GetObject("path"); /* borrowed */
	PyObject *folder = NULL;
	int result = -1, known;

	if (PyDict_GetItemString(PyImport_GetModuleDict(), PYSK_MODULE) != NULL) {
		pysk_start_failed("this process has already loaded a copy of "
		    "the same libpysk.so from another path; use one path only");
		return -1;
	}
	folder = PyUnicode_DecodeFSDefault(site_packages);
	if (folder == NULL || search_path == NULL || !PyList_Check(search_path))
		goto out;
	if (!own) {
		known = PySequence_Contains(search_path, folder);
		if (known < 0 ||
		    (known == 0 && PyList_Append(search_path, folder) < 0))
			goto out;
	}
	result = import_cffi_backend(search_path, folder, own);
out:
	if (result != 0 && start_failure[0] == '\0')
		pysk_start_failed("Python's module search path is unusable; "
		    REINSTALL);
	PyErr_Clear();
	Py_XDECREF(folder);
	return result;
}

int
pysk_owns_python(void)
{
	return owns_python;
}

static void
start(void)
{
	int own, result;
	PyGILState_STATE gil;

	(void)stat("/", &first_root);
	if (find_site_packages() != 0)
		return;
	own = !Py_IsInitialized();
	/* A host's Python may be no library of its own; then its symbols are global. */
	if (promote_libpython() != 0 && own) {
		pysk_start_failed("libpython cannot be made visible to "
		    "Python's own modules; " REINSTALL);
		return;
	}
	if (own && start_own_python() != 0)
		return;
	owns_python = own;
	gil = PyGILState_Ensure();
	result = prepare_imports(own);
	PyGILState_Release(gil);
	if (result == 0 && pysk_start_cffi() != 0 && start_failure[0] == '\0')
		pysk_start_failed("the Python half of the library cannot be "
		    "started; " REINSTALL);
}

void
pysk_import_signal(void)
{
	struct sigaction before;
	PyObject *module;
	PyGILState_STATE gil = PyGILState_Ensure();

	/* It makes SIGINT Python's wherever nobody else has it, even where Python was told to leave signals alone. */
	sigaction(SIGINT, NULL, &before);
	module = PyImport_ImportModule("_signal");
	sigaction(SIGINT, &before, NULL);
	PyErr_Clear();
	Py_XDECREF(module);
	PyGILState_Release(gil);
}

/*
 * Whether this thread holds Python's lock. PyGILState_Check() says so of every thread once a program has made a second
 * interpreter.
 */
static int
holds_lock(void)
{
#if PY_VERSION_HEX >= 0x030d0000
	PyThreadState *current = PyThreadState_GetUnchecked();
#else
	PyThreadState *current = _PyThreadState_UncheckedGet();
#endif

	return current != NULL && current == PyGILState_GetThisThreadState();
}

int
pysk_has_memory(size_t size)
{
	void *room = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
	    -1, 0);
	int is_there;

	if (room == MAP_FAILED)
		return 0;
	/* Half of what Python maps are files. */
	is_there = mprotect(room, size / 2, PROT_READ | PROT_WRITE) == 0;
	munmap(room, size);
	return is_there;
}

static int
may_open_files(void)
{
	int fd = open("/", O_RDONLY | O_CLOEXEC);

	if (fd != -1)
		close(fd);
	return fd != -1 || (errno != EMFILE && errno != ENFILE);
}

/* Python imports modules by their absolute paths, and some only once they are needed. */
static int
root_has_changed(void)
{
	struct stat now;

	return stat("/", &now) != 0 || now.st_dev != first_root.st_dev ||
	    now.st_ino != first_root.st_ino;
}

int
pysk_start_python(void)
{
	PyThreadState *held = NULL;

	pthread_once(&version_once, check_version);
	if (version_fits) {
		if (!Py_IsInitialized() && !pysk_has_memory(START_MEMORY)) {
			pysk_tell("there is not enough memory to start Python; "
			    "end some programs, or raise this one's limit "
			    "(ulimit -v), and try again");
			return -1;
		}
		if (!Py_IsInitialized() && !may_open_files()) {
			pysk_tell("this process can open no more files; "
			    "end some programs, or raise this one's limit "
			    "(ulimit -n), and try again");
			return -1;
		}
		/* Who waits for the start must not hold the lock that the start needs; callers from Python may. */
		if (Py_IsInitialized() && holds_lock())
			held = PyEval_SaveThread();
		pthread_once(&start_once, start);
		if (held != NULL)
			PyEval_RestoreThread(held);
	}
	if (start_failure[0] != '\0') {
		pysk_tell(start_failure);
		return -1;
	}
	if (root_has_changed()) {
		pysk_tell("the root directory of this process is another "
		    "than at its first call; "
		    "use the authenticator in a process of its own");
		return -1;
	}
	return 0;
}

int
pysk_is_privileged(void)
{
	return getuid() != geteuid() || getgid() != getegid()
#ifdef __linux__
	    || getauxval(AT_SECURE) != 0
#endif
	    ;
}
