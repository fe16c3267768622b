"""Which model of authenticator an AAGUID is (CTAP 2.1 §6.4): the same number for all of a kind, not for one of them.

Names and numbers are the FIDO Alliance's Metadata Service's, as lists of what it has, such as the one of
passkey-authenticator-aaguids, repeat them. It lacks CanoKey, Nitrokey 3 xN, Nitrokey FIDO2, Pico FIDO and Trezor,
which are here as their makers tell them.
"""

from __future__ import annotations

NONE = bytes(16)
"""The AAGUID of an authenticator that does not say what it is."""

_MODELS = {
    "ATKey.Card": "d41f5a69-b817-4144-a13c-9ebd6d9254d6",
    "ATKey.Card NFC": "da1fa263-8b25-42b6-a820-c0036f21ba7f",
    "ATKey.Pro": "e1a96183-5016-4f24-b55b-e3ae23614cc6 e416201b-afeb-41ca-a03d-2281c28322aa",
    "ATKey.ProS": "ba76a271-6eb6-4171-874d-b6428dbe3437",
    "CanoKey": "244eb29e-e090-4e49-81fe-1f20f8d3b8f4",
    "Crayonic KeyVault K1": "be727034-574a-f799-5c76-0929e0430973",
    "Cryptnox FIDO2": "9c835346-796b-4c27-8898-d6032f515cc5 1d1b4e33-76a1-47fb-97a0-14b10d0933f1",
    "Deepnet SafeKey/Classic": (
        "b9f6b7b6-f929-4189-bca9-dd951240c132 b12eac35-586c-4809-a4b1-d81af6c305cf "
        "357f2718-434f-4124-8a58-7e28c5e4a2fc e41b42a3-60ac-4afb-8757-a98f2d7f6c9f "
        "c1288a5c-d66b-495c-a68f-4e81f9ec5b53"
    ),
    "Ensurity AUTH BioPro": "454e5346-4944-4ffd-6c93-8e9267193e9b",
    "Ensurity AUTH TouchPro": "50cbf15a-238c-4457-8f16-812c43bf3c49",
    "Ensurity ThinC": "454e5346-4944-4ffd-6c93-8e9267193e9a",
    "Excelsecu eSecu FIDO2": "cdbdaea2-c415-5073-50f7-c04e968640b6",
    "Excelsecu eSecu FIDO2 Fingerprint": (
        "d384db22-4d50-ebde-2eac-5765cf1e2a44 20f0be98-9af9-986a-4b42-8eca4acb28e4 6002f033-3c07-ce3e-d0f7-0ffe5ed42543"
    ),
    "Excelsecu eSecu FIDO2 NFC": "fbefdf68-fe86-0106-213e-4d5fa24cbe2e a3975549-b191-fd67-b8fb-017e2917fdb3",
    "Excelsecu eSecu FIDO2 Pro": (
        "0d9b2e56-566b-c393-2940-f821b7f15d6d bbf4b6a7-679d-f6fc-c4f2-8ac0ddf9015a f573f209-b7fb-b261-671a-d7cf624cc812"
    ),
    "Feitian AllinOne FIDO2": "12ded745-4bed-47d4-abaa-e713f51d6393",
    "Feitian BioPass FIDO2": "77010bd7-212a-4fc9-b236-d2ca5e9d4084",
    "Feitian BioPass FIDO2 Plus": (
        "b6ede29c-3772-412c-8a78-539c1f4c62d2 42df17de-06ba-4177-a2bb-6701be1380d6 a02140b7-0cbd-42e1-a9b5-a39da2545114"
    ),
    "Feitian BioPass FIDO2 Pro": "4c0cf95d-2f40-43b5-ba42-4c83a11c04ba 2bff89f2-323a-48fc-b7c8-9ff7fe87c07e",
    "Feitian FIDO Smart Card": "2c0df832-92de-4be1-8412-88a8f074df4a",
    "Feitian FIDO Fingerprint Card": "8c97a730-3f7b-41a6-87d6-1e9b62bda6f0 238ab2f5-b57f-4917-b3c6-3d3c6c0c350f",
    "Feitian ePass FIDO": "12755c32-8ad1-46eb-881c-e0b38d848b09",
    "Feitian ePass FIDO-NFC": "78ba3993-d784-4f44-8d6e-cc0a8ad5230e 39589099-9a75-49fc-afaa-801ca211c62a",
    "Feitian ePass FIDO2": "833b721a-ff5f-4d00-bb2e-bdda3ec01e29",
    "Feitian ePass FIDO2-NFC": "ee041bce-25e5-4cdb-8f86-897fd6418464 234cd403-35a2-4cc2-8015-77ea280c77f5",
    "Feitian ePass FIDO2-NFC Plus": "260e3021-482d-442d-838c-7edfbe153b7e",
    "Feitian iePass FIDO": "3e22415d-7fdf-4ea4-8a0c-dd60c4249b9d",
    "GoTrust Idem Card": "9f0d8150-baa5-4c00-9299-ad62c8bb4e87",
    "GoTrust Idem Key": "c611b55c-77b2-4527-8082-590e931b2f08 3b1adb99-0dfe-46fd-90b8-7f7614a4de2a",
    "GoTrust Idem Key mini": "72a2b5b1-95a5-4df9-a881-4192aff4f72e",
    "Google Titan Security Key v2": "42b4fb4a-2866-43b2-9bf7-6c6669c2e5d3",
    "HID Crescendo 4000": (
        "0b8b05a4-ebd4-4b0b-8f5f-33d7b6e606ab 2a55aee6-27cb-42c0-bc6e-04efe999e88a "
        "8eec9bf9-486c-46da-9a67-1fbb4f66b9ed aa79f476-ea00-417e-9628-1e8365123922"
    ),
    "HID Crescendo C2300": "aeb6569c-f8fb-4950-ac60-24ca2bbe2e52",
    "HID Crescendo C3000": "c80dbd9a-533f-4a17-b941-1a2f1c7cedff",
    "HID Crescendo Key": "692db549-7ae5-44d5-a1e5-dd20a493b723",
    "HID Crescendo Key V2": "2d3bec26-15ee-4f5d-88b2-53622490270b",
    "HID Crescendo Key V3": (
        "87c13177-85d6-40ac-8c61-fe7ab3de9dfb 7991798a-a7f3-487f-98c0-3faf7a458a04 13ac47cf-1d78-4fd5-9060-aedaabacf826"
    ),
    "Hideez Key 3": "3e078ffd-4c54-4586-8baa-a77da113aec5",
    "Hideez Key 4": "4e768f2c-5fab-48b3-b300-220eb487752b",
    "HyperFIDO Bio": "d821a7d4-e97c-4cb6-bd82-4237731fd4be",
    "HyperFIDO Pro": "9f77e279-a6e2-4d58-b700-31e5943c6a98 6999180d-630c-442d-b8f7-424b90a43fae",
    "HyperFIDO Pro NFC": "23195a52-62d9-40fa-8ee5-23b173f4fb52",
    "Identiv uTrust FIDO2": "73402251-f2a8-4f03-873e-3cb6db604b03",
    "Kensington VeriMark Guard": "d94a29d9-52dd-4247-9c2d-8b818b610389",
    "Kensington VeriMark Guard 2.1": "09619fbf-d75e-4a62-be1d-fe4d240864ae",
    "Kensington VeriMark NFC+ USB-A": "76692dc1-c56a-48d9-8e7d-31b5ced430ac",
    "Kensington VeriMark NFC+ USB-C": "ee7fa1e0-9539-432f-bd43-9c2fc6d4f311",
    "Ledger Flex": "1d8cac46-47a1-3386-af50-e88ae46fe802",
    "Ledger Nano Gen5": "b3315166-f36c-b05f-fea8-66a3dfdad171",
    "Ledger Nano S": "341e4da9-3c2e-8103-5a9f-aad887135200",
    "Ledger Nano S Plus": "58b44d0b-0a7c-f33a-fd48-f7153c871352",
    "Ledger Nano X": "fcb1bcb4-f370-078c-6993-bc24d0ae3fbe",
    "Ledger Stax": "6e24d385-004a-16a0-7bfe-efd963845b34",
    "NEOWAVE Badgeo FIDO2": "c5703116-972b-4851-a3e7-ae1259843399 a7fc3f84-86a3-4da4-a3d7-eb6485a066d8",
    "NEOWAVE Winkeo FIDO2": "3789da91-f943-46bc-95c3-50ea2012f03a 2c2aeed8-8174-4159-814b-486e92a261d0",
    "Nitrokey 3 xN": "ec99db19-cd1f-4c06-a2a9-940f17a6a30b",
    "Nitrokey 3 AM": "2cd2f727-f6ca-44da-8f48-5c2e5da000a2",
    "Nitrokey FIDO2": "c39efba6-fcf4-4c3e-828b-fc4a6115a0ff",
    "OneKey FIDO2": "69e7c36f-f2f6-9e0d-07a6-bcc243262e6b 70e7c36f-f2f6-9e0d-07a6-bcc243262e6b",
    "OnlyKey": "998f358b-2dd2-4cbe-a43a-e8107438dfb3",
    "OpenSK": "664d9f67-84a2-412a-9ff7-b4f7d8ee6d05",
    "Pico FIDO": "89fb94b7-06c9-3673-9b7e-30526d968145",
    "SafeNet eToken FIDO": "efb96b10-a9ee-4b6c-a4a9-d32125ccd4a4",
    "SafeNet eToken Fusion": "74820b05-a6c9-40f9-8fb0-9f86aca93998 23786452-f02d-4344-87ed-aaf703726881",
    "Security Key NFC by Yubico": (
        "a4e9fc6d-4cbe-4758-b8ba-37598bb5bbaa e77e3c64-05e3-428b-8824-0cbeb04b829d "
        "b7d3f68e-88a6-471e-9ecf-2df26d041ede 149a2021-8ef6-4133-96b8-81f8d5b7f1f5 "
        "6d44ba9b-f6ec-2e49-b930-0c8fe920cb73"
    ),
    "Security Key NFC by Yubico, Enterprise Edition": (
        "0bb43545-fd2c-4185-87dd-feb0b2916ace 47ab2fb4-66ac-4184-9ae1-86be814012d5 "
        "ed042a3a-4b22-4455-bb69-a267b652ae7e 9ff4cc65-6154-4fff-ba09-9e2af7882ad2 "
        "72c6b72d-8512-4c66-8359-9d3d10d9222f"
    ),
    "Security Key by Yubico": "f8a011f3-8c0a-4d15-8006-17111f9edc7d b92c3f9a-c014-4056-887f-140a2501163b",
    "Solo": "8876631b-d4a0-427f-5773-0ec71c9e0279",
    "Solo Tap": "8976631b-d4a0-427f-5773-0ec71c9e0279",
    "Somu": "9876631b-d4a0-427f-5773-0ec71c9e0279",
    "Swissbit iShield Key": "931327dd-c89b-406c-a81e-ed7058ef36c6",
    "Swissbit iShield Key 2": (
        "7787a482-13e8-4784-8a06-c7ed49a7aaf4 e400ef8c-711d-4692-af46-7f2cf7da23ad "
        "817cdab8-0d51-4de1-a821-e25b88519cf3 5eaff75a-dd43-451f-af9f-87c9eeae293e"
    ),
    "Swissbit iShield Key Pro": "5d629218-d3a5-11ed-afa1-0242ac120002",
    "Thetis Pro FIDO2": "1f8e43df-71ff-e11d-bea3-c4ee7003b232",
    "Token2 FIDO2": "ab32f0c6-2239-afbb-c470-d2ef4e254db7",
    "Token2 PIN+": "eabb46cc-e241-80bf-ae9e-96fa6d2975cf",
    "Trezor Model T": "d6d0bdc3-62ee-c4db-de8d-7a656e4a4487",
    "VivoKey Apex": "d7a423ad-3e19-4492-9200-78137dccc136",
    "YubiKey 5": (
        "cb69481e-8ff7-4039-93ec-0a2729a154a8 ee882879-721c-4913-9775-3dfcce97072a "
        "19083c3d-8383-4b18-bc03-8f1c9ab2fd1b ff4dac45-ede8-4ec2-aced-cf66103f4335 "
        "4599062e-6926-4fe7-9566-9e8fb1aedaa0 20ac7a17-c814-4833-93fe-539f0d5e3389"
    ),
    "YubiKey 5 CCN with NFC": "3aa78eb1-ddd8-46a8-a821-8f8ec57a7bd5 4fc84f16-2545-4e53-b8fc-7bf4d7282a10",
    "YubiKey 5 FIPS": (
        "73bb0cd4-e502-49b8-9c6f-b59445bf720b 57f7de54-c807-4eab-b1c6-1c9be7984e92 905b4cb4-ed6f-4da9-92fc-45e0d4e9b5c7"
    ),
    "YubiKey 5 FIPS with Lightning": (
        "85203421-48f9-4355-9bc8-8a53846e5083 7b96457d-e3cd-432b-9ceb-c9fdd7ef7432 3a662962-c6d4-4023-bebb-98ae92e78e20"
    ),
    "YubiKey 5 FIPS with NFC": (
        "c1f9a0bc-1dd2-404a-b27f-8e29047a43fd fcc0118f-cd45-435b-8da1-9782b2da0715 79f3c8ba-9e35-484b-8f47-53a5a0f5c630"
    ),
    "YubiKey 5 with Lightning": (
        "c5ef55ff-ad9a-4b9f-b580-adebafe026d0 a02167b9-ae71-4ac7-9a07-06432ebb6f1c "
        "24673149-6c86-42e7-98d9-433fb5b73296 3b24bf49-1d45-4484-a917-13175df0867b "
        "b90e7dc1-316e-4fee-a25a-56a666a670fe"
    ),
    "YubiKey 5 with NFC": (
        "fa2b99dc-9e39-4257-8f92-4a30d23c4118 2fc0579f-8113-47ea-b116-bb5a8db9202a "
        "a25342c0-3cdc-4414-8e46-f4807fca511c d7781e5d-e353-46aa-afe2-3ca49f13332a "
        "1ac71f64-468d-4fe0-bef1-0e5f2f551f18 6ab56fad-881f-4a43-acb2-0be065924522"
    ),
    "YubiKey 5 with NFC, Enhanced PIN": "662ef48a-95e2-4aaa-a6c1-5b9c40375824 b2c1a50b-dad8-4dc7-ba4d-0ce9597904bc",
    "YubiKey Bio": (
        "d8522d9f-575b-4866-88a9-ba99fa02f35b dd86a2da-86a0-4cbe-b462-4bd31f57bc6f "
        "7409272d-1ff9-4e10-9fc9-ac0019c124fd 83c47309-aabb-4108-8470-8be838b573cb "
        "ad08c78a-4e41-49b9-86a2-ac15b06899e2 8c39ee86-7f9a-4a95-9ba3-f6b097e5c2ee"
    ),
    "YubiKey Bio, Multi-protocol Edition": (
        "7d1351a6-e097-4852-b8bf-c9ac5c9ce4a3 90636e1f-ef82-43bf-bdcf-5255f139d12f "
        "34744913-4f57-4e6e-a527-e9ec3c4b94e6 6ec5cff2-a0f9-4169-945b-f33b563f7b99 "
        "97e6a830-c952-4740-95fc-7c78dc97ce47"
    ),
    "eWBM eFA310": "95442b2e-f15e-4def-b270-efb106facb4e",
    "eWBM eFA320": "87dbc5a1-4c94-4dc8-8a47-97d800fd1f3c",
    "eWBM eFA500": "361a3082-0278-4583-a16f-72a527f973e4",
    "eWBM eFPA": "61250591-b2bc-4456-b719-0b17be90bb30",
    "pysk keys in the TPM": "9c1dd5d8-6d1b-4fd0-a5f4-a5d4ea9a2e63",
    "pysk software authenticator": "4415c58f-d29e-f869-f813-4db032b931cc",
}


def model(aaguid: bytes) -> str:
    """Return the name of the model that an AAGUID is of, "" if it is not known."""
    written = text(aaguid)
    return next((name for name, aaguids in _MODELS.items() if written in aaguids.split()), "")


def text(aaguid: bytes) -> str:
    """Return an AAGUID as it is written, in five groups of hexadecimal digits."""
    digits = aaguid.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
