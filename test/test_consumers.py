#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Builds and runs test/consumer as other projects would, and prints TAP: against an installed copy (by hand,
wholly static, by Meson, by CMake), against a build directory that was never installed, and as a Meson subproject, there or
fetched by a wrap file, where there is libuv and nothing else. Checks what was installed on the way: sonames, exported
symbols, pkg-config files, and that default_library chooses the kind of the libraries. Works on builds of its own in a
temporary directory, so neither the options nor the sanitizers of the build that runs it matter.

Usage: test_consumers.py SOURCE_ROOT MESON CC...
"""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap

from tap import Tap

LIBRARIES = ("ndnshm", "uvface")  # what every build has; libndnpkt is there where libcrypto is
OFF = ["-Dauto_features=disabled"]


class Workshop:
    """A temporary directory and the tools; every run's output is kept for the next failure to show."""

    def __init__(self, tap, root, meson, cc, directory):
        self.tap, self.root, self.meson, self.cc = tap, root, meson, cc
        self.directory = directory
        self.prefix = directory / "prefix"
        self.env = dict(os.environ, CC=shlex.join(cc))
        for inherited in ("DESTDIR", "LD_LIBRARY_PATH"):
            self.env.pop(inherited, None)
        self.said = ""

    def run(self, *command, pkg_config="", libraries="", libuv_alone=False):
        env = dict(self.env)
        if libuv_alone:
            env.update(PKG_CONFIG_PATH="", PKG_CONFIG_LIBDIR=str(self.directory / "libuv-alone"), CMAKE="false")
        if pkg_config:
            env["PKG_CONFIG_PATH"] = f"{pkg_config}:{env.get('PKG_CONFIG_PATH', '')}"
        if libraries:
            env["LD_LIBRARY_PATH"] = str(libraries)
        done = subprocess.run(
            [str(word) for word in command], cwd=self.directory, env=env, timeout=240, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        self.said = f"$ {shlex.join(map(str, command))}\n{done.stdout}"
        return done.returncode == 0

    def output(self, *command, **more):
        return self.said.split("\n", 1)[1] if self.run(*command, **more) else ""

    def hide_all_but_libuv(self):
        """Makes the directory of pkg-config files for libuv_alone."""
        found = self.output("pkg-config", "--variable=pcfiledir", "libuv").strip()
        (self.directory / "libuv-alone").mkdir()
        shutil.copy(pathlib.Path(found) / "libuv.pc", self.directory / "libuv-alone")

    def build(self, source, build, *options, **more):
        return self.run(self.meson, "setup", build, source, *options, **more) and self.run(
            self.meson, "compile", "-C", build
        )

    def installed(self, build, name):
        """Installs below a directory of that name. Returns the files, without directories and versions."""
        self.run(self.meson, "install", "-C", build, "--destdir", self.directory / name)
        paths = (self.directory / name).rglob("*")
        return {re.sub(r"\.so[.\d]*$", ".so", path.name) for path in paths if not path.is_dir()}

    def consumer_works(self, name, program, version, libraries=""):
        good = self.run(program, libraries=libraries) and self.said.endswith(
            f"ndnshm {version} uvface {version}\n"
        )
        return self.tap.check(good, f"{name}: the consumer runs", self.said)

    def door_works(self, name, program, version, libraries=""):
        good = self.run(program, libraries=libraries) and self.said.endswith(f"uvface_mgmt {version}\n")
        return self.tap.check(good, f"{name}: the consumer of the door runs", self.said)

    def packets_work(self, name, program, version, libraries=""):
        good = self.run(program, libraries=libraries) and self.said.endswith(f"ndnpkt {version}\n")
        return self.tap.check(good, f"{name}: the consumer of packets runs", self.said)

    def needed(self, program):
        """The shared libraries that a program or library asks for."""
        return re.findall(r"\(NEEDED\).*\[(.*)\]", self.output("readelf", "-d", program))


def declared_functions(header):
    return set(re.findall(r"^\w+_EXTERN [^;]*?\b(\w+)\(", header.read_text(), re.MULTILINE))


def check_installed_files(shop, names, version):
    for name in names:
        library = shop.prefix / "lib" / f"lib{name}.so"
        soname = re.findall(r"\(SONAME\).*\[(.*)\]", shop.output("readelf", "-d", library))
        shop.tap.check(soname == [f"lib{name}.so.0"], f"lib{name} has the soname lib{name}.so.0", soname)
        symbols = shop.output("nm", "-D", "--defined-only", "-P", library).splitlines()
        exported = {line.split("@")[0].split()[0] for line in symbols if line.split()[1] != "A"}
        wanted = declared_functions(shop.prefix / "include" / f"{name}.h")
        differ = "\n".join(sorted(exported ^ wanted))
        shop.tap.check(wanted and not differ, f"lib{name} exports what {name}.h declares, no more", differ)
    pkg_config = shop.prefix / "lib" / "pkgconfig"
    for name in names:
        said = shop.output("pkg-config", "--modversion", name, pkg_config=pkg_config).strip()
        shop.tap.check(said == version, f"{name}.pc has the project's version", said)
    said = shop.output("pkg-config", "--print-requires", "uvface", pkg_config=pkg_config)
    shop.tap.check("libuv >= 1.44\n" in said, "uvface.pc requires libuv >= 1.44", said)
    said = shop.output("pkg-config", "--print-requires", "ndnshm", pkg_config=pkg_config)
    shop.tap.check("uv" not in said, "ndnshm.pc requires no libuv", said)


def check_ndnpkt(shop, version):
    """libndnpkt alone: it asks for libcrypto and for nothing of ours, and its users see no libcrypto."""
    pkg_config, library = shop.prefix / "lib" / "pkgconfig", shop.prefix / "lib" / "libndnpkt.so"
    needed = [so for so in shop.needed(library) if not so.startswith(("libc.", "libasan", "libubsan"))]
    shop.tap.check(needed == ["libcrypto.so.3"], "libndnpkt needs libcrypto and nothing else", needed)
    for how, wanted in (("", False), ("-private", True)):
        said = shop.output("pkg-config", f"--print-requires{how}", "ndnpkt", pkg_config=pkg_config)
        what = f"ndnpkt.pc requires{how or ' in public'}: {'libcrypto' if wanted else 'nothing'}"
        shop.tap.check(("libcrypto >= 3.0" in said) == wanted and (wanted or not said.strip()), what, said)
    flags = shlex.split(shop.output("pkg-config", "--cflags", "--libs", "ndnpkt", pkg_config=pkg_config))
    source, program = shop.root / "test" / "consumer" / "packets.c", shop.directory / "packets-by-hand"
    built = shop.run(*shop.cc, "-std=c11", "-D_GNU_SOURCE", source, "-o", program, *flags)
    if shop.tap.check(flags and built, "installed, by hand: the consumer of packets builds", shop.said):
        shop.packets_work("installed, by hand", program, version, libraries=shop.prefix / "lib")


def check_by_hand(shop, version):
    pkg_config = shop.prefix / "lib" / "pkgconfig"
    flags = shlex.split(shop.output("pkg-config", "--cflags", "--libs", *LIBRARIES, pkg_config=pkg_config))
    source, program = shop.root / "test" / "consumer" / "consumer.c", shop.directory / "by-hand"
    built = shop.run(*shop.cc, "-std=c11", "-D_GNU_SOURCE", source, "-o", program, *flags)
    if shop.tap.check(flags and built, "installed, by hand: the consumer builds", shop.said):
        shop.consumer_works("installed, by hand", program, version, libraries=shop.prefix / "lib")


def check_examples(shop):
    """Each installed example builds against what is installed by the Makefile beside it, in a copy, without a warning;
    and runs without LD_LIBRARY_PATH."""
    place, pkg_config = shop.prefix / "share" / "doc" / "uvface" / "examples", shop.prefix / "lib" / "pkgconfig"
    sources = {path.name for path in (shop.root / "docs" / "examples").glob("*.c")}
    shop.tap.check(sources == {path.name for path in place.glob("*.c")}, "all examples are installed", sorted(sources))
    if not shutil.which("make"):
        shop.tap.skip("the installed examples", "no make")
        return
    copy = shop.directory / "examples"
    shutil.copytree(place, copy)
    make = ("make", "-C", copy, f"CC={shlex.join(shop.cc)}", "CFLAGS=-Wall -Wextra -Werror")
    for stem in sorted(path.removesuffix(".c") for path in sources - {"common.c", "tables.c"}):
        if "<glib.h>" in (copy / f"{stem}.c").read_text() and not shop.run("pkg-config", "--exists", "glib-2.0"):
            shop.tap.skip(f"the installed example {stem}.c", "no GLib")
            continue
        larger = '"common.h"' in (copy / f"{stem}.c").read_text()
        built = shop.run(*make, f"ndn-{stem}" if larger else stem, pkg_config=pkg_config)
        shop.tap.check(built, f"make builds the installed example {stem}.c", shop.said)
    programs = {path.name for path in copy.iterdir() if not path.suffix and path.name != "Makefile"}
    good = shop.run(*make, "clean") and not any((copy / name).exists() for name in programs)
    good = good and shop.run(*make, pkg_config=pkg_config) and all((copy / name).exists() for name in programs)
    shop.tap.check(programs and good, "make alone builds them all", shop.said)
    shop.tap.check(good and shop.run(copy / "ndn-forwarder", "--help"), "one that was made so runs", shop.said)
    page = (shop.root / "docs" / "link.rst").read_text(encoding="utf-8")
    lines = re.findall(r"^    (cc [a-z-]+\.c.*?) -o .*\$\((pkg-config .*)\)$", page, re.MULTILINE)
    for line, question in lines:
        flags = shlex.split(shop.output(*shlex.split(question), pkg_config=pkg_config))
        words = [copy / word if word.endswith(".c") else word for word in line.split()[1:]]
        built = shop.run(*shop.cc, "-Werror", *words, "-o", shop.directory / "as-told", *flags)
        shop.tap.check(flags and built, f"as docs/link.rst has it: {line}", shop.said)
    shop.tap.check(len(lines) == 3, "docs/link.rst has three such lines", lines)


def check_static(shop, version):
    """As docs/link.rst has it for Debian, whose static libuv has another name."""
    flags = shop.output("pkg-config", "--static", "--cflags", "--libs", "uvface_mgmt", pkg_config=shop.prefix / "lib" / "pkgconfig")
    if not shop.run("pkg-config", "--exists", "libuv-static"):
        shop.tap.skip("wholly static", "no libuv-static.pc, as Debian's libuv1-dev has it")
        return
    flags = shlex.split(flags.replace("-luv ", "-luv_a "))
    source, program = shop.root / "test" / "consumer" / "door.c", shop.directory / "wholly-static"
    built = shop.run(*shop.cc, "-static", "-std=c11", "-D_GNU_SOURCE", source, "-o", program, *flags)
    if shop.tap.check(built, "wholly static: the consumer builds", shop.said):
        shop.door_works("wholly static", program, version)
        shop.tap.check(not shop.needed(program), "wholly static: it asks for no shared library", shop.said)


def check_with_cmake(shop, version):
    """What was built and what was installed run without LD_LIBRARY_PATH, also where only one library was named."""
    if not shutil.which("cmake"):
        shop.tap.skip("CMake", "no cmake")
        return
    source, build, prefix = shop.root / "test" / "consumer", shop.directory / "cmake", shop.directory / "cmake-prefix"
    options = (f"-DCMAKE_INSTALL_PREFIX={prefix}", "-DCMAKE_C_FLAGS=-Wl,--as-needed")
    good = shop.run("cmake", "-S", source, "-B", build, *options, pkg_config=shop.prefix / "lib" / "pkgconfig")
    good = good and shop.run("cmake", "--build", build) and shop.run("cmake", "--install", build)
    if not shop.tap.check(good, "CMake: the consumer builds and installs", shop.said):
        return
    for name, place in (("CMake, built", build), ("CMake, installed", prefix / "bin")):
        shop.consumer_works(name, place / "consumer", version)
        if (shop.prefix / "lib" / "libuvface_mgmt.so").exists():
            shop.door_works(name, place / "door", version)


def check_with_meson(shop, name, pkg_config, version, is_static):
    source, build = shop.root / "test" / "consumer", shop.directory / name.replace(", ", "-")
    option = f"-Dprefer_static={'true' if is_static else 'false'}"
    built = shop.build(source, build, option, pkg_config=pkg_config)
    if not shop.tap.check(built, f"{name}: the consumer builds", shop.said):
        return
    shop.consumer_works(name, build / "consumer", version)
    if (build / "packets").exists():
        shop.packets_work(name, build / "packets", version)
    if (build / "door").exists():
        shop.door_works(name, build / "door", version)
    ours = [so for so in shop.needed(build / "consumer") if so.startswith(("libuvface", "libndnshm"))]
    wanted = [] if is_static else ["libndnshm.so.0", "libuvface.so.0"]
    what = "both of our libraries" if wanted else "neither of our libraries"
    shop.tap.check(sorted(ours) == wanted, f"{name}: it asks for {what}", ours)


def check_subproject(shop, version):
    source, build = shop.directory / "embedder", shop.directory / "subproject"
    shutil.copytree(shop.root / "test" / "consumer", source)
    (source / "subprojects").mkdir()
    (source / "subprojects" / "uvface").symlink_to(shop.root)
    built = shop.build(source, build, libuv_alone=True)
    if shop.tap.check(built, "subproject, with libuv alone: the consumer builds", shop.said):
        shop.consumer_works("subproject", build / "consumer", version)
        files = shop.installed(build, "installed-subproject")
        wanted = {f"{name}.{end}" for name in LIBRARIES for end in ("h", "pc")}
        wanted |= {f"lib{name}.{end}" for name in LIBRARIES for end in ("so", "a")}
        shop.tap.check(files == wanted, "subproject: the libraries are installed, and nothing else", files)
    build = shop.directory / "subproject-static"
    built = shop.build(source, build, "-Duvface:default_library=static", libuv_alone=True)
    if shop.tap.check(built, "subproject, static: the consumer builds", shop.said):
        shop.consumer_works("subproject, static", build / "consumer", version)
        ours = [so for so in shop.needed(build / "consumer") if so.startswith(("libuvface", "libndnshm"))]
        shop.tap.check(not ours, "subproject, static: it asks for neither of our libraries", ours)


def check_wrap(shop, version):
    """The wrap file of the page on linking, with a repository in the place of its two words."""
    page = (shop.root / "docs" / "link.rst").read_text(encoding="utf-8")
    wrap = textwrap.dedent(re.search(r"^    \[wrap-git\]\n(?:    .*\n|\n)+", page, re.MULTILINE).group())
    if not shutil.which("git"):
        shop.tap.skip("wrap", "no git")
        return
    source, build, repository = shop.directory / "wrapped", shop.directory / "wrap", shop.directory / "repository"
    shutil.copytree(shop.root / "test" / "consumer", source)
    whole = (source / "meson.build").read_text(encoding="utf-8")
    (source / "meson.build").write_text(whole.replace(", fallback: 'uvface'", ""), encoding="utf-8")
    (source / "subprojects").mkdir()
    wrap = wrap.replace("ADDRESS", str(repository)).replace("REVISION", "HEAD")
    (source / "subprojects" / "uvface.wrap").write_text(wrap, encoding="utf-8")
    repository.mkdir()
    for name in ("meson.build", "meson_options.txt", "include", "lib", "uvface", "docs"):
        shop.run("cp", "-r", shop.root / name, repository)
    for command in (("init", "-q"), ("add", "-A"), ("-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "-m", "x")):
        if not shop.run("git", "-C", repository, *command):
            break
    built = shop.build(source, build, libuv_alone=True)
    if shop.tap.check(built, "wrap: the consumer builds", shop.said):
        shop.consumer_works("wrap", build / "consumer", version)


def check_extras(shop):
    """At top level an extra is built if what it needs is there; one that is demanded must not be left out. Meson finds
    libcrypto, Sphinx, libpcap and a header without pkg-config, so that what is made of these cannot be made to miss them."""
    build = shop.directory / "plain"
    set_up = shop.run(shop.meson, "setup", build, shop.root, "-Ddocs=disabled", "-Dndnpkt=disabled", "-Dprobes=disabled",
                      "-Dpcap=disabled", libuv_alone=True)
    told = re.findall(r"^ +(\w+) *: NO: (\w+)", shop.said, re.MULTILINE)
    wanted = [("ndnpkt", "disabled"), ("probes", "disabled"), ("tools", "needs"), ("pcap", "disabled"), ("examples", "needs"),
              ("tests", "needs"), ("docs", "disabled"), ("bench", "needs")]
    shop.tap.check(set_up and told == wanted, "with libuv alone the summary says which extras are missing", shop.said)
    shop.tap.check(shop.run(shop.meson, "compile", "-C", build), "with libuv alone the libraries build", shop.said)
    for extra in ("tools", "tests", "bench"):
        build = shop.directory / f"demanded-{extra}"
        demanded = shop.run(shop.meson, "setup", build, shop.root, f"-D{extra}=enabled", libuv_alone=True)
        shop.tap.check(not demanded and "ERROR" in shop.said, f"{extra}=enabled fails with libuv alone", shop.said)


def check_kinds(shop, version):
    """default_library=static and =shared each build and install that kind and no other."""
    for kind, end in (("static", "a"), ("shared", "so")):
        build, prefix = shop.directory / f"{kind}-build", shop.directory / f"{kind}-prefix"
        options = [*OFF, f"-Ddefault_library={kind}", f"--prefix={prefix}", "--libdir=lib"]
        good = shop.build(shop.root, build, *options) and shop.run(shop.meson, "install", "-C", build)
        if not shop.tap.check(good, f"{kind} libraries build and install", shop.said):
            continue
        installed = {path.name.split(".")[1] for path in (prefix / "lib").iterdir() if path.is_file()}
        shop.tap.check(installed == {end}, f"{kind} libraries are the only ones installed", installed)
        pkg_config, program = prefix / "lib" / "pkgconfig", shop.directory / f"{kind}-consumer"
        flags = shlex.split(shop.output("pkg-config", "--cflags", "--libs", *LIBRARIES, pkg_config=pkg_config))
        source = shop.root / "test" / "consumer" / "consumer.c"
        built = shop.run(*shop.cc, "-std=c11", "-D_GNU_SOURCE", source, "-o", program, *flags)
        if shop.tap.check(flags and built, f"{kind} libraries: the consumer builds", shop.said):
            shop.consumer_works(f"{kind} libraries", program, version, libraries=prefix / "lib")


def main():
    root, meson, cc = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2], sys.argv[3:]
    tap = Tap()
    version = re.search(r"version: '([^']*)'", (root / "meson.build").read_text()).group(1)
    with tempfile.TemporaryDirectory() as directory:
        shop = Workshop(tap, root, meson, cc, pathlib.Path(directory))
        build = shop.directory / "build"
        options = [*OFF, "-Dbuildtype=debug", f"--prefix={shop.prefix}", "--libdir=lib"]
        with_ndnpkt = shop.run("pkg-config", "--exists", "libcrypto >= 3.0")
        names = (*LIBRARIES, "ndnpkt", "uvface_mgmt") if with_ndnpkt else LIBRARIES
        options += ["-Dndnpkt=enabled"] if with_ndnpkt else []
        good = shop.build(root, build, *options) and shop.run(meson, "install", "-C", build)
        if tap.check(good, "the libraries build and install", shop.said):
            check_installed_files(shop, names, version)
            if with_ndnpkt:
                check_ndnpkt(shop, version)
                check_examples(shop)
                check_static(shop, version)
            else:
                tap.skip("libndnpkt", "no libcrypto 3.0")
            check_by_hand(shop, version)
            check_with_cmake(shop, version)
            installed, uninstalled = shop.prefix / "lib" / "pkgconfig", build / "meson-uninstalled"
            check_with_meson(shop, "installed, shared", installed, version, False)
            check_with_meson(shop, "installed, static", installed, version, True)
            check_with_meson(shop, "uninstalled, shared", uninstalled, version, False)
        shop.hide_all_but_libuv()
        check_subproject(shop, version)
        check_wrap(shop, version)
        check_extras(shop)
        check_kinds(shop, version)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
