#: code object with other names
def f(): return opener(FILE, "w").close()
f.__code__ = f.__code__.replace(co_names=tuple("open" if n == "opener" else n for n in f.__code__.co_names))
f()

#: code object built from another
import types
code = (lambda p: print(p, "w")).__code__
names = tuple("open" if n == "print" else n for n in code.co_names)
types.FunctionType(code.replace(co_names=names), {"open": open})(FILE).write("touched")

#: marshalled code
import marshal
exec(marshal.loads(marshal.dumps(compile("open(FILE, 'w').write('touched')", "x", "exec"))))

#: constants of a code object
def f(): return "/nonexistent"
f.__code__ = f.__code__.replace(co_consts=(None, FILE))
open(f(), "w").write("touched")

#: byte code that reads beyond its constants
import types, opcode
code = compile("1", "x", "eval")
bad = code.replace(co_code=bytes([opcode.opmap["RESUME"], 0, opcode.opmap["EXTENDED_ARG"], 0,
                                  opcode.opmap["LOAD_CONST"], 0, opcode.opmap["RETURN_VALUE"], 0]))
eval(bad)
open(FILE, "w").write("touched")

#: abstract syntax tree
import ast
tree = ast.parse("print(FILE, 'w')")
tree.body[0].value.func.id = "open"
exec(compile(tree, "x", "exec"))

#: syntax tree by hand
import ast
call = ast.Call(ast.Name("open", ast.Load()), [ast.Constant(FILE), ast.Constant("w")], [])
exec(compile(ast.fix_missing_locations(ast.Module([ast.Expr(call)], [])), "x", "exec"))

#: transformer
import ast
class T(ast.NodeTransformer):
    def visit_Name(self, node): return ast.copy_location(ast.Name("open", node.ctx), node) if node.id == "id" else node
exec(compile(ast.fix_missing_locations(T().visit(ast.parse("id(FILE, 'w')"))), "x", "exec"))

#: closure cells
import types
def outer():
    path = None
    def inner(): return open(path, "w").write("touched")
    return inner
inner = outer()
inner.__closure__[0].cell_contents = FILE
inner()

#: function with globals of another module
import types, shutil
types.FunctionType(compile("os.remove(p)", "x", "exec"), {**vars(shutil), "p": FILE})()

#: default arguments
def f(path="/nonexistent"): open(path, "w").write("touched")
f.__defaults__ = (FILE,)
f()

#: code.interact
import code, io, sys
sys.stdin = io.StringIO("open(FILE, 'w').write('touched')\n")
code.InteractiveInterpreter(globals()).runsource("open(FILE, 'w').write('touched')")

#: byte-compiled file
import py_compile, importlib.util, tempfile, os
d = tempfile.mkdtemp()
open(d + "/m.py", "w").write(f"open({FILE!r}, 'w').write('touched')")
spec = importlib.util.spec_from_file_location("m", py_compile.compile(d + "/m.py", d + "/m.pyc"))
spec.loader.exec_module(importlib.util.module_from_spec(spec))

#: match statement with a hostile property
class P:
    __match_args__ = ("x",)
    @property
    def x(self): return open(FILE, "w").write("touched")
match P():
    case P(7): pass

#: walrus in a comprehension
[p := FILE, o := open, [o(p, "w").write("touched") for _ in "x"]]

#: decorators that are calls
@lambda f: open(f(), "w").write("touched")
def x(): return FILE

#: decorator stack of builtins
@exec
@"open(FILE, 'w').write('touched')".format
class x: pass

#: annotations that are evaluated
def f(x: open(FILE, "w").write("touched")): pass

#: default factory
from collections import defaultdict
defaultdict(lambda: open(FILE, "w").write("touched"))["x"]

#: star arguments
open(*(FILE, *"w")).write("touched")

#: assertion message
try:
    assert 0, open(FILE, "w").write("touched")
except AssertionError:
    pass

#: chained comparison and short circuit
0 < 1 < 2 and open(FILE, "w").write("touched") or None
