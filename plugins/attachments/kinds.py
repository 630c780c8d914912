"""What a file is, from its first octets: whatever its name and its sender say."""

from hashlib import sha256

from filterrelay_plugins.attachments.tars import BLOCK, is_tar_header
from filterrelay_plugins.attachments.zips import END

# The industry's harmless test file (eicar.org); its hash, so that nobody stops this one.
EICAR = "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"
EICAR_OCTETS = 68
EICAR_MOST = 128  # with the blanks that may follow it

_BEGINNINGS = (
    (b"PK\x03\x04", "application/zip"),
    (b"PK\x05\x06", "application/zip"),  # an empty one
    (b"\x1f\x8b\x08", "application/gzip"),
    (b"BZh", "application/x-bzip2"),
    (b"\xfd7zXZ\x00", "application/x-xz"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/x-rar"),
    (b"MSCF", "application/vnd.ms-cab-compressed"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (b"\x7fELF", "application/x-elf"),
    (b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    (b"\xce\xfa\xed\xfe", "application/x-mach-binary"),
    (b"\xca\xfe\xba\xbe", "application/java-vm"),  # or a Mach-O for several processors
    (b"\x4c\x00\x00\x00\x01\x14\x02\x00", "application/x-ms-shortcut"),
    (b"ITSF\x03", "application/vnd.ms-htmlhelp"),
    (b"conectix", "application/x-virtual-disk"),
    (b"vhdxfile", "application/x-virtual-disk"),
    (b"MSWIM\x00\x00\x00", "application/x-ms-wim"),
    (b"%PDF-", "application/pdf"),
)
_TAR_MARK = (257, b"ustar")
_ISO_MARKS = tuple((offset, b"CD001") for offset in (0x8001, 0x8801, 0x9001))
HEAD = 512  # octets that tell every kind but a disc image

EXECUTABLE = (
    "application/x-dosexec",
    "application/x-elf",
    "application/x-mach-binary",
    "application/java-vm",
    "application/x-ms-shortcut",
    "application/vnd.ms-htmlhelp",
    "application/x-iso9660-image",
    "application/x-virtual-disk",
    "application/x-ms-wim",
)
OPAQUE = (  # archives that can't be looked into here
    "application/x-7z-compressed",
    "application/x-rar",
    "application/vnd.ms-cab-compressed",
)
CONTAINERS = (
    "application/zip",
    "application/gzip",
    "application/x-bzip2",
    "application/x-xz",
    "application/x-tar",
    "application/x-ole-storage",
)
_VBA = "_VBA_PROJECT".encode("utf-16-le")


def kind_of(content: bytes) -> str:
    """The content's media type as far as it matters here, or empty. Its HEAD will mostly do."""
    for mark, kind in _BEGINNINGS:
        if content.startswith(mark):
            return kind
    if content.startswith(b"MZ") and _is_program(content):
        return "application/x-dosexec"
    offset, mark = _TAR_MARK
    if content.startswith(mark, offset) or is_tar_header(content[:BLOCK]):
        return "application/x-tar"
    if any(content.startswith(mark, offset) for offset, mark in _ISO_MARKS):
        return "application/x-iso9660-image"
    return ""


def _is_program(content: bytes) -> bool:
    """Whether what begins as a DOS program goes on as one; text may begin with MZ too."""
    header = int.from_bytes(content[0x3C:0x40], "little")
    return content[header : header + 2] in (b"PE", b"NE", b"LE") or b"\x00" in content[:64]


def holds_zip(content: bytes) -> bool:
    """Whether the end of a ZIP stands in it, whatever comes before and behind."""
    return END in content


def has_ole_macros(content: bytes) -> bool:
    """Whether an OLE document (MS-CFB) has a stream of VBA macros."""
    return _VBA in content


def is_eicar(content: bytes) -> bool:
    """Whether it is the EICAR test file, blanks behind it allowed."""
    if not EICAR_OCTETS <= len(content) <= EICAR_MOST:
        return False
    core = content.strip(b" \t\r\n\x1a")
    return len(core) == EICAR_OCTETS and sha256(core).hexdigest() == EICAR
