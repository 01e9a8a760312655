"""Link against glibc without having it: stub libraries that name its symbols, with the versions that they had in 2.17.

A linker needs only the names, versions and sonames of the libraries that a shared library will meet at run time. `zig cc`
makes them too, for the whole of glibc, which takes many seconds on a new machine; here they are made for `SYMBOLS` alone.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from ingot.errors import IngotError
from ingot.toolchain import cache
from ingot.toolchain.compilers import GLIBC_MINOR, Compiler
from ingot.toolchain.tools import run_tool, said

SYMBOLS = """
libc.so.6 2.2.5:
  abort abs access __assert_fail atoi atol atoll bcmp bsearch calloc clock close copysign copysignf __cxa_atexit
  __cxa_finalize dup environ __errno_location exit fclose fcntl fdopen feof ferror fflush fgetc fgets fileno fopen
  fopen64 fprintf fputc fputs fread free frexp frexpf fscanf fseek fseeko fseeko64 fsync ftell ftello ftello64
  ftruncate fwrite __fxstat get_nprocs getdelim getenv getline getpagesize getpid getppid getrusage gettimeofday
  getuid ioctl isalnum isalpha isdigit islower isspace isupper isxdigit labs ldexp ldexpf llabs longjmp lseek
  lseek64 madvise malloc memchr memcmp memmem memmove memrchr memset mincore mlock mmap mmap64 modf modff mprotect
  mremap msync munlock munmap nanosleep open open64 posix_fadvise posix_memalign prctl pread pread64 printf putchar
  puts pwrite pwrite64 qsort rand_r read readlink realloc rewind scalbn scalbnf sched_yield _setjmp setjmp setvbuf
  sigaction sigaddset sigdelset sigemptyset sigfillset siglongjmp signal sigprocmask sleep snprintf sprintf sscanf
  stderr stdin stdout stpcpy strcasecmp strcat strchr strchrnul strcmp strcpy strcspn strdup strerror strerror_r
  strlen strncasecmp strncat strncmp strncpy strndup strnlen strpbrk strrchr strsep strspn strstr strtod strtof
  strtoimax strtok_r strtol strtoll strtoul strtoull syscall sysconf sysinfo time tolower toupper uname unlink
  usleep vfprintf vprintf vsnprintf vsprintf vsscanf write
libc.so.6 2.3:
  __ctype_b_loc __ctype_tolower_loc __ctype_toupper_loc realpath
libc.so.6 2.3.2:
  __register_atfork
libc.so.6 2.3.4:
  __memcpy_chk __memset_chk sched_getaffinity sched_setaffinity __xpg_strerror_r
libc.so.6 2.4:
  openat __stack_chk_fail
libc.so.6 2.6:
  __sched_cpucount sched_getcpu
libc.so.6 2.7:
  __isoc99_fscanf __isoc99_sscanf __isoc99_vsscanf __sched_cpualloc __sched_cpufree
libc.so.6 2.8:
  qsort_r
libc.so.6 2.14:
  memcpy
libc.so.6 2.16:
  aligned_alloc getauxval
libc.so.6 2.17:
  clock_getres clock_gettime clock_nanosleep secure_getenv
libm.so.6 2.2.5:
  acos acosf acosh acoshf asin asinf asinh asinhf atan atan2 atan2f atanf atanh atanhf cbrt cbrtf ceil ceilf cos
  cosf cosh coshf erf erfc erfcf erff exp exp10 exp10f exp2 exp2f expf expm1 expm1f fdim fdimf feclearexcept
  fegetround fesetround fetestexcept floor floorf fma fmaf fmax fmaxf fmin fminf fmod fmodf hypot hypotf ilogb
  ilogbf lgamma lgamma_r lgammaf lgammaf_r llrint llrintf llround llroundf log log10 log10f log1p log1pf log2 log2f
  logb logbf logf lrint lrintf lround lroundf nan nanf nearbyint nearbyintf nextafter nextafterf pow powf remainder
  remainderf remquo remquof rint rintf round roundf scalbln scalblnf sin sincos sincosf sinf sinh sinhf sqrt sqrtf
  tan tanf tanh tanhf tgamma tgammaf trunc truncf
libpthread.so.0 2.2.5:
  pthread_attr_destroy pthread_attr_getstack pthread_attr_init pthread_attr_setdetachstate pthread_attr_setstacksize
  pthread_barrier_destroy pthread_barrier_init pthread_barrier_wait pthread_condattr_destroy pthread_condattr_init
  pthread_create pthread_detach pthread_equal pthread_exit pthread_getattr_np pthread_getspecific pthread_join
  pthread_key_create pthread_key_delete pthread_kill pthread_mutex_destroy pthread_mutex_init pthread_mutex_lock
  pthread_mutex_timedlock pthread_mutex_trylock pthread_mutex_unlock pthread_mutexattr_destroy
  pthread_mutexattr_init pthread_mutexattr_settype pthread_once pthread_rwlock_destroy pthread_rwlock_init
  pthread_rwlock_rdlock pthread_rwlock_unlock pthread_rwlock_wrlock pthread_self pthread_setspecific pthread_sigmask
  pthread_spin_destroy pthread_spin_init pthread_spin_lock pthread_spin_trylock pthread_spin_unlock sem_destroy
  sem_init sem_post sem_timedwait sem_trywait sem_wait
libpthread.so.0 2.3.2:
  pthread_cond_broadcast pthread_cond_destroy pthread_cond_init pthread_cond_signal pthread_cond_timedwait
  pthread_cond_wait
libpthread.so.0 2.3.3:
  pthread_condattr_setclock
libpthread.so.0 2.3.4:
  pthread_attr_setaffinity_np pthread_getaffinity_np pthread_setaffinity_np
libpthread.so.0 2.12:
  pthread_setname_np
libdl.so.2 2.2.5:
  dladdr dlclose dlerror dlopen dlsym
libdl.so.2 2.3.3:
  dlinfo
ld.so 2.3:
  __tls_get_addr
"""
"""The functions of glibc that generated C and the runtime may call: library and x86-64 version, then names.

One that is missing here ends the link as an undefined symbol: add it under the newest version that is not above 2.17.
"""

OBJECTS = frozenset({"environ", "stderr", "stdin", "stdout"})
LOADERS = {"x86_64": "ld-linux-x86-64.so.2", "aarch64": "ld-linux-aarch64.so.1"}

NONSHARED = """\
#include <stddef.h>
#include <sys/stat.h>

/* The part of glibc 2.17 that is linked statically into every library. */

extern int __cxa_atexit(void (*function)(void *), void *argument, void *library);
extern void __cxa_finalize(void *library);
extern int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *library);
extern int __fxstat(int version, int file, struct stat *status);

void *__dso_handle = &__dso_handle;

int pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void)) {
  return __register_atfork(prepare, parent, child, __dso_handle);
}

int atexit(void (*function)(void)) { return __cxa_atexit((void (*)(void *))function, NULL, __dso_handle); }

int fstat(int file, struct stat *status) { return __fxstat(STAT_VERSION, file, status); }

__attribute__((destructor)) static void finalize(void) { __cxa_finalize(__dso_handle); }
"""
STAT_VERSIONS = {"x86_64": 1, "aarch64": 0}


def symbols(machine: str) -> dict[str, dict[str, list[str]]]:
    """`SYMBOLS` for a processor family: soname -> version such as "2.14" -> names.

    On x86-64 the versions are as in the table; a family that glibc 2.17 brought in has that one version throughout.
    """
    result: dict[str, dict[str, list[str]]] = {}
    names: list[str] = []
    for line in SYMBOLS.strip().splitlines():
        if line.startswith("  "):
            names += line.split()
            continue
        library, version = line.rstrip(":").split(" ")
        soname = LOADERS[machine] if library == "ld.so" else library
        names = result.setdefault(soname, {}).setdefault(
            version if machine == "x86_64" else f"2.{GLIBC_MINOR}", []
        )
    return result


def link_command(compiler: Compiler, machine: str, objects: Sequence[Path], output: Path) -> list[str]:
    """The command that links `objects` to the shared library `output` with the linker inside `zig`.

    Makes the stub libraries first if the cache has none. Raises IngotError unsupported for a processor family without an
    entry in `LOADERS`.
    """
    if machine not in LOADERS:
        raise IngotError(
            "unsupported",
            f"no shared library can be linked for {machine!r}",
            where="--emit library",
            remedy=f"use --emit source, a compiler of your own with --cc, or one of {', '.join(LOADERS)}",
        )
    nonshared, *libraries = _stubs(compiler, machine)
    return [
        compiler.command[0],
        "ld.lld",
        "-shared",
        "--hash-style=gnu",
        "--build-id=none",
        "--as-needed",
        "-znow",
        "-zrelro",
        "-zdefs",
        f"-soname={output.name}",
        f"-o{output}",
        *map(str, objects),
        "--start-lib",
        str(nonshared),
        "--end-lib",
        *map(str, libraries),
    ]


def _stubs(compiler: Compiler, machine: str) -> list[Path]:
    """The object of `NONSHARED` and the stub libraries, from the cache or made now."""
    libraries = symbols(machine)
    key = cache.digest(["stubs", compiler.identity, machine, repr(libraries), NONSHARED])
    names = ["nonshared.o", *libraries]
    found = [path for name in names if (path := cache.lookup(key, name))]
    if len(found) == len(names):
        return found
    with cache.workspace() as folder:
        (folder / "nonshared.c").write_text(NONSHARED)
        flags = [f"--target={machine}-linux-gnu", "-O2", f"-DSTAT_VERSION={STAT_VERSIONS[machine]}"]
        _run(compiler.compile_command("nonshared.c", "nonshared.o", flags), folder)
        for soname, versions in libraries.items():
            _stub(compiler, machine, folder, soname, versions)
        return [cache.store(key, folder / name) for name in names]


def _stub(
    compiler: Compiler, machine: str, folder: Path, soname: str, versions: dict[str, list[str]]
) -> None:
    """Makes the stub library `soname` in `folder`: every name defined, none of them usable."""
    text = [".text"]
    script = []
    for version, names in versions.items():
        for name in names:
            kind, size = ("@object", 8) if name in OBJECTS else ("@function", 0)
            text.append(
                f".globl {name}\n.type {name}, {kind.replace('@', '%')}\n.size {name}, {size}\n{name}: .skip 8"
            )
        script.append(f"GLIBC_{version} {{ global: {'; '.join(names)}; }};")
    (folder / "stub.s").write_text("\n".join(text) + "\n")
    (folder / "stub.map").write_text("\n".join(script) + "\n")
    _run([*compiler.command, f"--target={machine}-linux-gnu", "-c", "stub.s", "-o", "stub.o"], folder)
    link = ["ld.lld", "-shared", "--version-script=stub.map", f"-soname={soname}", "-o", soname, "stub.o"]
    _run([compiler.command[0], *link], folder)


def _run(command: Sequence[str], folder: Path) -> None:
    done = run_tool(command, folder)
    if done.returncode != 0:
        raise IngotError(
            "internal", f"the stub libraries were not built:\n{said(done)}", where=shlex.join(command)
        )
