#: importlib
import importlib
importlib.import_module("os").truncate(FILE, 1)

#: a removed module is imported again
import sys
for name in ("os", "posix", "io", "builtins"): sys.modules.pop(name, None)
__import__("posix").truncate(FILE, 1)

#: sys.modules lookups
import sys
sys.modules["posix"].unlink(FILE)

#: module replaced by a class
import sys
class Fake:
    def __getattr__(self, name): return open(FILE, "w").write("touched")
sys.modules["fake"] = Fake()
from fake import anything

#: meta path finder
import sys, importlib.machinery, importlib.abc
class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name == "hostile" else None
    def create_module(self, spec): return None
    def exec_module(self, module): open(FILE, "w").write("touched")
sys.meta_path.insert(0, Finder())
import hostile

#: path hook
import sys, zipfile, tempfile
z = tempfile.mktemp(".zip")
zipfile.ZipFile(z, "w").writestr("inzip.py", f"open({FILE!r}, 'w').write('touched')")
sys.path.insert(0, z)
try:
    import inzip
except ImportError:
    import runpy
    with zipfile.ZipFile(z, "w") as archive: archive.writestr("inzip2.py", f"open({FILE!r}, 'w').write('x')")
    sys.path_importer_cache.clear()
    import inzip2

#: builtin import overridden
import builtins
original = builtins.__import__
def hooked(name, *args, **kwargs):
    open(FILE, "w").write("touched")
    return original(name, *args, **kwargs)
builtins.__import__ = hooked
import colorsys

#: runpy
import runpy, tempfile
f = tempfile.NamedTemporaryFile("w", suffix=".py", delete=False)
f.write(f"open({FILE!r}, 'w').write('touched')"); f.close()
runpy.run_path(f.name)

#: sitecustomize of a child
import subprocess, sys, tempfile
d = tempfile.mkdtemp()
open(d + "/sitecustomize.py", "w").write(f"open({FILE!r}, 'w').write('touched')")
subprocess.run([sys.executable, "-c", "0"], env={"PYTHONPATH": d})

#: pth file of a child
import subprocess, sys, tempfile
d = tempfile.mkdtemp()
open(d + "/x.pth", "w").write(f"import os; open({FILE!r}, 'w').write('touched')\n")
subprocess.run([sys.executable, "-c", f"import site; site.addsitedir({d!r})"])

#: startup file of an interactive child
import subprocess, sys, tempfile
f = tempfile.NamedTemporaryFile("w", suffix=".py", delete=False)
f.write(f"open({FILE!r}, 'w').write('touched')"); f.close()
subprocess.run([sys.executable, "-i"], stdin=subprocess.DEVNULL, env={"PYTHONSTARTUP": f.name, "PATH": "/usr/bin"})

#: warnings category import
import subprocess, sys, tempfile
d = tempfile.mkdtemp()
open(d + "/evil.py", "w").write(f"open({FILE!r}, 'w').write('touched')\nclass W(Warning): pass\n")
subprocess.run([sys.executable, "-W", "ignore::evil.W", "-c", "0"], env={"PYTHONPATH": d})

#: breakpoint hook
import sys, os
sys.breakpointhook = lambda: open(FILE, "w").write("touched")
breakpoint()

#: pkgutil and resolve_name
import pkgutil
pkgutil.resolve_name("os:truncate")(FILE, 1)

#: audit hook
import sys
def hook(event, args):
    if event == "escape.probe":
        open(FILE, "w").write("touched")
sys.addaudithook(hook)
sys.audit("escape.probe")

#: atexit
import atexit
atexit.register(lambda: open(FILE, "w").write("touched"))
atexit._run_exitfuncs()

#: codec search function
import codecs
def search(name):
    if name == "hostile":
        open(FILE, "w").write("touched")
codecs.register(search)
try:
    codecs.lookup("hostile")
except LookupError:
    pass

#: codec error handler
import codecs
codecs.register_error("hostile", lambda error: (str(open(FILE, "w").write("x")), error.end))
"\ud800".encode("utf-8", "hostile")

#: hostile encodings module
import codecs
class C(codecs.Codec):
    def decode(self, data, errors="strict"): return str(open(FILE, "w").write("x")), len(data)
codecs.register(lambda n: codecs.CodecInfo(C().encode, C().decode, name="esc") if n == "esc" else None)
b"x".decode("esc")
