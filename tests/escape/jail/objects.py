#: pickle reduce
import pickle, os
class P:
    def __reduce__(self): return os.truncate, (FILE, 1)
pickle.loads(pickle.dumps(P()))

#: pickle opcodes by hand
import pickle
pickle.loads(b"cos\nunlink\n(V" + FILE.encode() + b"\ntR.")

#: pickle build with a hostile state
import pickle
class S:
    def __setstate__(self, state): open(state, "w").write("touched")
    def __getstate__(self): return FILE
import __main__
__main__.S = S
pickle.loads(pickle.dumps(S()))

#: pickle persistent id
import pickle, io
class U(pickle.Unpickler):
    def persistent_load(self, pid): return open(pid, "w").write("touched")
class K(pickle.Pickler):
    def persistent_id(self, obj): return FILE
b = io.BytesIO(); K(b).dump(1); b.seek(0); U(b).load()

#: copyreg constructor
import copy, copyreg
class C: pass
copyreg.pickle(C, lambda c: (open, (FILE, "w")))
copy.copy(C()).write("touched")

#: shelve
import shelve, tempfile, os
class P:
    def __reduce__(self): return os.truncate, (FILE, 1)
with shelve.open(tempfile.mkdtemp() + "/s") as s:
    s["x"] = P()
    s["x"]

#: multiprocessing child
import multiprocessing
def work(path): open(path, "w").write("touched")
p = multiprocessing.get_context("fork").Process(target=work, args=(FILE,)); p.start(); p.join()

#: finalizer
class D:
    def __del__(self): open(FILE, "w").write("touched")
D()

#: finalizer in a cycle
import gc
class D:
    def __init__(self): self.me = self
    def __del__(self): open(FILE, "w").write("touched")
D(); gc.collect()

#: weak reference callback
import weakref
class O: pass
o = O(); r = weakref.ref(o, lambda _: open(FILE, "w").write("touched")); del o

#: weakref.finalize
import weakref
class O: pass
o = O(); weakref.finalize(o, lambda: open(FILE, "w").write("touched")); del o

#: collector callback
import gc
gc.callbacks.append(lambda phase, info: open(FILE, "w").write("touched"))
gc.collect()
gc.callbacks.clear()

#: objects found by the collector
import gc, types
module = next(o for o in gc.get_objects() if isinstance(o, types.ModuleType) and o.__name__ == "posix")
module.truncate(FILE, 1)

#: referrers of a function
import gc, os
scope = next(r for r in gc.get_referrers(os.truncate) if isinstance(r, dict) and "unlink" in r)
scope["unlink"](FILE)

#: sort key
sorted([FILE], key=lambda p: open(p, "w").write("touched"))

#: comparison
class C:
    def __lt__(self, other): return bool(open(FILE, "w").write("touched"))
sorted([C(), C()])

#: hash and equality in a dictionary
class K:
    def __hash__(self): return open(FILE, "w").write("touched")
{K(): 1}

#: buffer of a memory view
import array
with open(FILE, "r+b") as f: f.write(memoryview(array.array("b", b"touched")))

#: iterator protocol with a sentinel
list(iter(lambda: open(FILE, "w").write("touched"), 7))

#: reduce and partial
from functools import partial, reduce
reduce(lambda f, a: partial(f, a), [FILE, "w"], open)().write("touched")

#: cached property
from functools import cached_property
class C:
    @cached_property
    def x(self): return open(FILE, "w").write("touched")
C().x

#: enum members
import enum
class E(enum.Enum):
    A = open(FILE, "w").write("touched")

#: named tuple with code in a field name
from collections import namedtuple
T = namedtuple("T", "a", module=None)
T._make.__func__.__globals__["_sys"].modules["posix"].truncate(FILE, 1)

#: dataclass with a hostile default factory
from dataclasses import dataclass, field
@dataclass
class C:
    x: int = field(default_factory=lambda: open(FILE, "w").write("touched"))
C()

#: sqlite extension function
import sqlite3
db = sqlite3.connect(":memory:")
db.create_function("f", 1, lambda p: open(p, "w").write("touched"))
db.execute("select f(?)", (FILE,)).fetchall()

#: sqlite attach
import sqlite3, os
os.truncate(FILE, 0)
sqlite3.connect(":memory:").executescript(f"attach '{FILE}' as h; create table h.t(x);")

#: json object hook
import json
json.loads('{"p": 1}', object_hook=lambda d: open(FILE, "w").write("touched"))

#: xml external entity
import xml.sax, urllib.request
urllib.request.urlopen("file://" + FILE).read()
open(FILE, "w").write("touched")

#: contextvars
import contextvars
contextvars.copy_context().run(open, FILE, "w").write("touched")

#: asyncio subprocess
import asyncio
async def main():
    p = await asyncio.create_subprocess_exec("/bin/sh", "-c", f"echo x > '{FILE}'")
    await p.wait()
asyncio.run(main())

#: thread pool
from concurrent.futures import ThreadPoolExecutor
ThreadPoolExecutor(1).submit(lambda: open(FILE, "w").write("touched")).result()
