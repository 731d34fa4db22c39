#include "policy/lint.h"

namespace bailiff {
namespace {

// Names are followed through imports and getattr() with a literal, not through variables.
constexpr std::string_view kProgram = R"py(
import ast
import sys

MODULES = {
    "network": {"socket", "ssl", "requests", "urllib", "urllib3", "http", "httpx", "aiohttp",
                "ftplib", "smtplib", "paramiko", "telnetlib", "websockets"},
    "native-code": {"ctypes", "cffi"},
}
CALLS = {
    "os-system": {"os.system", "os.popen"},
    "subprocess": {"subprocess.run", "subprocess.call", "subprocess.check_call",
                   "subprocess.check_output", "subprocess.Popen", "subprocess.getoutput",
                   "subprocess.getstatusoutput", "asyncio.create_subprocess_exec",
                   "asyncio.create_subprocess_shell", "pty.spawn"},
    "eval": {"eval", "builtins.eval"},
    "exec": {"exec", "builtins.exec"},
    "dynamic-import": {"__import__", "builtins.__import__", "importlib.import_module",
                       "runpy.run_path", "runpy.run_module"},
    "rmtree": {"shutil.rmtree"},
    "unpickle": {"pickle.load", "pickle.loads", "marshal.load", "marshal.loads", "shelve.open",
                 "dill.load", "dill.loads"},
}
PREFIXES = {"subprocess": ("os.exec", "os.spawn", "os.posix_spawn")}
DECODERS = ("b64decode", "b32decode", "b85decode", "unhexlify", "fromhex", "decompress", "decode")
OUTSIDE = ("/etc/", "/usr/", "/home/", "/root/", "/var/", "/boot/", "/dev/", "/opt/", "/srv/",
           "/bin/", "/lib/")
HARMLESS = ("/dev/null", "/dev/stdout", "/dev/stderr", "/dev/shm/")
NAMES = {}
FOUND = set()


def dotted(node):
    if isinstance(node, ast.Name):
        return NAMES.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        left = dotted(node.value)
        return left + "." + node.attr if left else ""
    if isinstance(node, ast.Call) and dotted(node.func) == "getattr" and len(node.args) > 1:
        left, name = dotted(node.args[0]), text(node.args[1])
        return left + "." + name if left and name else ""
    return ""


def text(node):
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def found(name, node):
    FOUND.add((node.lineno, name))


def see_module(module, node):
    for name, modules in MODULES.items():
        if module.split(".")[0] in modules:
            found(name, node)


def see_import(node):
    if isinstance(node, ast.Import):
        for alias in node.names:
            see_module(alias.name, node)
            NAMES[alias.asname or alias.name.split(".")[0]] = (
                alias.name if alias.asname else alias.name.split(".")[0])
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        see_module(node.module, node)
        for alias in node.names:
            NAMES[alias.asname or alias.name] = node.module + "." + alias.name


def decodes(node):
    return any(isinstance(part, ast.Call) and isinstance(part.func, (ast.Attribute, ast.Name))
               and dotted(part.func).split(".")[-1] in DECODERS for part in ast.walk(node))


def see_open(node):
    mode = text(node.args[1]) if len(node.args) > 1 else ""
    mode += "".join(text(word.value) for word in node.keywords if word.arg == "mode")
    path = text(node.args[0]) if node.args else ""
    if path.startswith(OUTSIDE) and not path.startswith(HARMLESS) and set(mode) & set("wax+"):
        found("outside-write", node)


def see_call(node):
    name = dotted(node.func)
    for fact, calls in CALLS.items():
        if name in calls:
            found(fact, node)
    for fact, prefixes in PREFIXES.items():
        if name.startswith(prefixes):
            found(fact, node)
    if name in ("open", "io.open", "builtins.open"):
        see_open(node)
    if name.split(".")[-1] in ("eval", "exec") and any(map(decodes, node.args)):
        found("encoded-exec", node)
    for word in node.keywords:
        value = word.value.value if isinstance(word.value, ast.Constant) else None
        if word.arg == "shell" and value is True:
            found("shell-true", node)


def main():
    try:
        nodes = list(ast.walk(ast.parse(sys.stdin.buffer.read())))
        for node in nodes:
            see_import(node)
        for node in nodes:
            if isinstance(node, ast.Call):
                see_call(node)
    except SyntaxError as error:
        FOUND.add((error.lineno or 1, "not-parsed"))
    except (MemoryError, RecursionError, ValueError):
        FOUND.add((1, "not-parsed"))
    for line, name in sorted(FOUND)[:50]:
        print(name, line)


main()
)py";

}  // namespace

std::string_view LintProgram() {
  return kProgram;
}

}  // namespace bailiff
