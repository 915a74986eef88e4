#!/usr/bin/env python3
"""Puts the pinned dependencies that Debian does not package under .deps/.

Each comes from its registry by name and version and is checked against its SHA-256. Unpacked once per content into a cache outside
the checkout (TIDEMARK_CACHE, else ~/.cache/tidemark); .deps/NAME is a link into it.
"""
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("TIDEMARK_CACHE") or pathlib.Path.home() / ".cache" / "tidemark") / "deps"

ARROW_VERSION = "26.0.1"
ARROW_WHEEL = f"pyarrow-{ARROW_VERSION}-cp311-cp311-manylinux_2_28_x86_64.whl"
ARROW_SHA256 = "39cb0f2418282c24bea6ceda77b03e5a8f0a5766b63a8bf194d4e2a2c423548c"

# google.rpc's error details: the wheel holds the .proto files themselves.
GOOGLEAPIS_VERSION = "1.76.0"
GOOGLEAPIS_WHEEL = f"googleapis_common_protos-{GOOGLEAPIS_VERSION}-py3-none-any.whl"
GOOGLEAPIS_SHA256 = "59e13344a9f3651aa201a03e2bee815a3bf43a4baf1f9ff8a9b62a840ce25fac"

# The sdist holds the driver manager's C++ sources.
ADBC_VERSION = "1.13.0"
ADBC_SDIST = f"adbc_driver_manager-{ADBC_VERSION}.tar.gz"
ADBC_SHA256 = "72d616e43d03b735e4000b653307531a2d1820f1f7e0ce949656f0ab939bd53e"

# The one package of DuckDB's own that holds libduckdb.so by itself.
DUCKDB_VERSION = "1.5.5-r.5"
DUCKDB_PACKAGE = "@duckdb/node-bindings-linux-x64"
DUCKDB_TARBALL = f"duckdb-node-bindings-linux-x64-{DUCKDB_VERSION}.tgz"
DUCKDB_SHA256 = "86d2bda909785550e8a14a57a8a4584827aff0e268d8f1a58c3fd48559f7020e"

# A driver of another vendor's, which the tests read through.
ADBC_SQLITE_VERSION = "1.13.0"
ADBC_SQLITE_WHEEL = f"adbc_driver_sqlite-{ADBC_SQLITE_VERSION}-py3-none-manylinux_2_28_x86_64.whl"
ADBC_SQLITE_SHA256 = "fb51f307cb3c45aa5476c84eae83781079939832f35dd54611dbe6095627ca3d"


def checked(path, sha256):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != sha256:
        sys.exit(f"deps: {path.name} has SHA-256 {digest}, pinned is {sha256}: not used")
    return path


def download_wheel(package, version, filename, sha256, into):
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--only-binary=:all:", "--implementation", "cp", "--python-version", "3.11", "--abi", "cp311",
         "--platform", "manylinux_2_28_x86_64", "--dest", str(into), f"{package}=={version}"],
        check=True)
    return checked(into / filename, sha256)


def download_sdist(package, version, filename, sha256, into):
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", package,
         "--dest", str(into), f"{package}=={version}"],
        check=True)
    return checked(into / filename, sha256)


def download_npm(package, version, filename, sha256, into):
    if shutil.which("npm") is None:
        sys.exit(f"deps: {package} comes from npm, which is not installed: apt-get install npm")
    subprocess.run(["npm", "pack", "--silent", "--pack-destination", str(into), f"{package}@{version}"], check=True,
                   stdout=subprocess.DEVNULL)
    return checked(into / filename, sha256)


def unpack_arrow(into):
    with tempfile.TemporaryDirectory() as temporary:
        wheel = download_wheel("pyarrow", ARROW_VERSION, ARROW_WHEEL, ARROW_SHA256, pathlib.Path(temporary))
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith("pyarrow/include/"):
                    destination = into / "include" / name[len("pyarrow/include/"):]
                elif name in ("pyarrow/libarrow.so.2600",):
                    destination = into / "lib" / pathlib.Path(name).name
                else:
                    continue
                if name.endswith("/"):
                    continue
                destination.parent.mkdir(parents=True, exist_ok=True)
                destination.write_bytes(archive.read(name))


def unpack_googleapis(into):
    with tempfile.TemporaryDirectory() as temporary:
        wheel = download_wheel("googleapis-common-protos", GOOGLEAPIS_VERSION, GOOGLEAPIS_WHEEL, GOOGLEAPIS_SHA256,
                               pathlib.Path(temporary))
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name in ("google/rpc/status.proto", "google/rpc/error_details.proto"):
                    destination = into / name
                    destination.parent.mkdir(parents=True, exist_ok=True)
                    destination.write_bytes(archive.read(name))


def unpack_tar(archive, into, places):
    """`places`: the beginning of a member's name -> where below `into` the rest of it goes."""
    with tarfile.open(archive) as members:
        for member in members:
            for prefix, folder in places.items():
                if member.isfile() and member.name.startswith(prefix):
                    destination = into / (folder + member.name[len(prefix):])
                    destination.parent.mkdir(parents=True, exist_ok=True)
                    destination.write_bytes(members.extractfile(member).read())


def unpack_adbc(into):
    with tempfile.TemporaryDirectory() as temporary:
        sdist = download_sdist("adbc-driver-manager", ADBC_VERSION, ADBC_SDIST, ADBC_SHA256, pathlib.Path(temporary))
        root = f"adbc_driver_manager-{ADBC_VERSION}/adbc_driver_manager/"
        unpack_tar(sdist, into, {root + "adbc_driver_manager": "src/adbc_driver_manager", root + "current_arch.h": "src/current_arch.h",
                                 root + "toml++/": "src/toml++/", root + "arrow-adbc/": "include/arrow-adbc/"})


def unpack_adbc_sqlite(into):
    with tempfile.TemporaryDirectory() as temporary:
        wheel = download_wheel("adbc-driver-sqlite", ADBC_SQLITE_VERSION, ADBC_SQLITE_WHEEL, ADBC_SQLITE_SHA256,
                               pathlib.Path(temporary))
        (into / "lib").mkdir()
        with zipfile.ZipFile(wheel) as archive:
            library = archive.read("adbc_driver_sqlite/libadbc_driver_sqlite.so")
        (into / "lib" / "libadbc_driver_sqlite.so").write_bytes(library)


def unpack_duckdb(into):
    with tempfile.TemporaryDirectory() as temporary:
        tarball = download_npm(DUCKDB_PACKAGE, DUCKDB_VERSION, DUCKDB_TARBALL, DUCKDB_SHA256, pathlib.Path(temporary))
        unpack_tar(tarball, into, {"package/libduckdb.so": "lib/libduckdb.so"})


PINNED = {"arrow": (f"arrow-{ARROW_VERSION}-{ARROW_SHA256[:12]}", unpack_arrow),
          "googleapis": (f"googleapis-{GOOGLEAPIS_VERSION}-{GOOGLEAPIS_SHA256[:12]}", unpack_googleapis),
          "adbc": (f"adbc-{ADBC_VERSION}-{ADBC_SHA256[:12]}", unpack_adbc),
          "adbc_sqlite": (f"adbc-sqlite-{ADBC_SQLITE_VERSION}-{ADBC_SQLITE_SHA256[:12]}", unpack_adbc_sqlite),
          "duckdb": (f"duckdb-{DUCKDB_VERSION}-{DUCKDB_SHA256[:12]}", unpack_duckdb)}


def main():
    (ROOT / ".deps").mkdir(exist_ok=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    for name, (identity, unpack) in PINNED.items():
        kept = CACHE / identity
        if not kept.exists():
            # Unpacked beside its place and renamed, so that an interrupted run leaves nothing that looks whole.
            temporary = pathlib.Path(tempfile.mkdtemp(dir=CACHE))
            unpack(temporary)
            try:
                temporary.rename(kept)
            except OSError:
                shutil.rmtree(temporary)  # Another process was first.
        link = ROOT / ".deps" / name
        if link.is_symlink() or link.exists():
            link.unlink()
        link.symlink_to(kept)


if __name__ == "__main__":
    main()
