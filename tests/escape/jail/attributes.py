#: subclasses of object to os
for c in ().__class__.__base__.__subclasses__():
    if c.__name__ == "_wrap_close":
        c.__init__.__globals__["system"](f"echo touched > '{FILE}'")
        break

#: subclasses to the builtins of a loader
loader = next(c for c in object.__subclasses__() if c.__name__ == "BuiltinImporter")
loader().load_module("posix").open(FILE, 0o1) and loader().load_module("posix").truncate(FILE, 0)

#: mro of a string
"".__class__.__mro__[-1].__subclasses__
[c for c in "".__class__.__mro__[-1].__subclasses__() if "warning" in c.__name__.lower()]
__import__("os").truncate(FILE, 1)

#: globals of a library function
import string
string.Formatter.vformat.__globals__["__builtins__"]["open"](FILE, "w").write("touched")

#: builtins through a generator's code
g = (x for x in [1])
g.gi_frame.f_builtins["open"](FILE, "w").close()

#: builtins of a lambda
(lambda: 0).__builtins__["open"](FILE, "a").write("touched")

#: self of a builtin function
print.__self__.open(FILE, "w").write("touched")

#: attributes by getattr and joined names
getattr(getattr(__builtins__, "_".join(["", "", "import", "", ""]))("os"), "re" + "move")(FILE)

#: vars and dict of the module type
import types
vars(types.ModuleType("x").__class__)["__getattribute__"]
type(types)("m").__loader__ is None and __import__("pathlib").Path(FILE).write_text("touched")

#: a class whose metaclass calls
class Meta(type):
    def __getitem__(cls, name):
        return __import__(name)
class Box(metaclass=Meta):
    pass
Box["os"].unlink(FILE)

#: class_getitem
class Box:
    __class_getitem__ = open
Box[FILE]
class Box2:
    def __class_getitem__(cls, name):
        return open(name, "w")
Box2[FILE].write("touched")

#: init_subclass
class Base:
    def __init_subclass__(cls, path):
        open(path, "w").write("touched")
class Child(Base, path=FILE):
    pass

#: set_name of a descriptor
class Writer:
    def __set_name__(self, owner, name):
        open(owner.path, "a").write("touched")
class Owner:
    path = FILE
    writer = Writer()

#: missing of a dictionary as a scope
class Scope(dict):
    def __missing__(self, name):
        return getattr(__builtins__, name, None) or __import__(name)
eval(f"os.truncate({FILE!r}, 2)", {"__builtins__": {}}, Scope())

#: mangled builtins in eval
import warnings
eval("[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'catch_warnings'][0]"
     "()._module.__builtins__['open'](path, 'w').write('touched')", {"__builtins__": {}, "path": FILE})

#: property and operator overloading
import os
class Bomb:
    def __add__(self, other): return os.system(f": > '{other}'")
Bomb() + FILE

#: a context manager's exit
class Guard:
    def __enter__(self): return self
    def __exit__(self, *_): open(FILE, "w").write("touched"); return True
with Guard():
    raise SystemExit

#: reduce_ex called by hand
import copyreg, os
fn, args = (os.truncate, (FILE, 3))
class R:
    def __reduce_ex__(self, _): return fn, args
import copy
copy.copy(R())
