"""What is installed works from where it was put: under DESTDIR with the prefix of a distribution, and
under a prefix of one's own, through pkg-config and through find_package, shared and static.

    check_install.py TOP BUILD C-COMPILER VERSION
"""

import os
import sys
import tempfile

import house

CONSUMER = os.path.join("tests", "house", "consumer")


class Failed(Exception):
    pass


def must(*command, **options):
    result = house.run(*command, **options)
    if result.returncode != 0:
        raise Failed(f"{' '.join(command)}\n{result.stdout}")
    return result.stdout


def environment(**more):
    return {**os.environ, **more}


def installed(folder):
    return sorted(os.path.relpath(os.path.join(where, name), folder)
                  for where, _, names in os.walk(folder) for name in names)


def expect(names, endings, where):
    for ending in endings:
        if not any(name.endswith(ending) for name in names):
            raise Failed(f"{where} holds no {ending}; it holds {', '.join(names)}")


def by_pkg_config(top, prefix, libraries, folder, compiler, version):
    variables = environment(PKG_CONFIG_PATH=os.path.join(libraries, "pkgconfig"))
    found = must("pkg-config", "--modversion", "attn", env=variables).strip()
    if found != version:
        raise Failed(f"attn.pc says version {found}, the header says {version}")
    source = os.path.join(top, CONSUMER, "main.c")
    cflags = must("pkg-config", "--cflags", "attn", env=variables).split()
    if prefix not in " ".join(cflags):
        raise Failed(f"attn.pc points outside {prefix}: {' '.join(cflags)}")

    shared = must("pkg-config", "--libs", "attn", env=variables).split()
    program = os.path.join(folder, "by_pkg_config_shared")
    must(compiler, source, *cflags, *shared, "-o", program)
    if "libattn.so" not in must("readelf", "-d", program):
        raise Failed("a program linked by pkg-config does not use libattn.so")
    must(program, env=environment(LD_LIBRARY_PATH=libraries))

    static = must("pkg-config", "--static", "--libs", "attn", env=variables).split()
    static = ["-l:libattn.a" if flag == "-lattn" else flag for flag in static]
    program = os.path.join(folder, "by_pkg_config_static")
    must(compiler, source, *cflags, *static, "-o", program)
    if "libattn.so" in must("readelf", "-d", program):
        raise Failed("a program linked with libattn.a still asks for libattn.so")
    must(program)


def by_find_package(top, prefix, folder, compiler, version):
    build = os.path.join(folder, "by_find_package")
    must("cmake", "-S", os.path.join(top, CONSUMER), "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}",
         f"-DCMAKE_C_COMPILER={compiler}", f"-DWANTED_VERSION={version}")
    must("cmake", "--build", build)
    for name in ("consumer_shared", "consumer_static"):
        must(os.path.join(build, name))
    refused = house.run("cmake", "-S", os.path.join(top, CONSUMER), "-B", build + "_later",
                        f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_C_COMPILER={compiler}", "-DWANTED_VERSION=999")
    if refused.returncode == 0:
        raise Failed("find_package(attn 999) was content with version " + version)


def check(top, build, compiler, version):
    with tempfile.TemporaryDirectory() as folder:
        stage = os.path.join(folder, "stage")
        must("cmake", "--install", build, "--prefix", "/usr", env=environment(DESTDIR=stage))
        names = installed(stage)
        outside = [name for name in names if not name.startswith("usr/")]
        if outside:
            raise Failed(f"installed outside /usr: {', '.join(outside)}")
        wanted = [f"usr/include/attn/{header}" for header in house.public_headers(top)]
        wanted += ["libattn.a", "libattn.so", f"libattn.so.{version}", "pkgconfig/attn.pc", "attnConfig.cmake",
                   "attnConfigVersion.cmake"]
        if os.path.exists(os.path.join(build, "attn")):
            wanted.append("usr/bin/attn")
        expect(names, wanted, "DESTDIR")

        prefix = os.path.join(folder, "prefix")
        must("cmake", "--install", build, "--prefix", prefix)
        libraries = os.path.dirname(os.path.join(
            prefix, next(name for name in installed(prefix) if name.endswith("libattn.a"))))
        by_pkg_config(top, prefix, libraries, folder, compiler, version)
        by_find_package(top, prefix, folder, compiler, version)
        if os.path.exists(os.path.join(build, "attn")):
            must(os.path.join(prefix, "bin", "attn"), "--version")


def main():
    try:
        check(*sys.argv[1:5])
    except Failed as fault:
        house.finish([str(fault)], "")
    house.finish([], "installed, found and used in four ways")


if __name__ == "__main__":
    main()
