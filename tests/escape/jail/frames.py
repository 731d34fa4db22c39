#: frame of an exception
try:
    1 / 0
except ZeroDivisionError as e:
    e.__traceback__.tb_frame.f_builtins["open"](FILE, "w").write("touched")

#: frame of a generator that runs
def gen():
    yield g.gi_frame.f_globals["FILE"], g.gi_frame.f_builtins["open"]
g = gen()
path, opener = next(g)
opener(path, "w").close()

#: caller's frame
import sys
def inner():
    return sys._getframe(1).f_globals
inner()["__builtins__"].open(FILE, "a").write("touched")

#: climbing to the outermost frame
import sys
frame = sys._getframe()
while frame.f_back:
    frame = frame.f_back
frame.f_builtins["__import__"]("os").remove(FILE)

#: coroutine frame
async def co():
    return 1
c = co()
c.cr_frame.f_builtins["open"](FILE, "w").write("touched")
c.close()

#: asynchronous generator frame
async def ag():
    yield 1
a = ag()
a.ag_frame.f_builtins["open"](FILE, "w").write("touched")

#: throw into a generator
def gen():
    try:
        yield
    except ValueError as e:
        open(e.args[0], "w").write("touched")
        yield
g = gen(); next(g); g.throw(ValueError(FILE))

#: close of a generator
def gen():
    try:
        yield
    finally:
        open(FILE, "a").write("touched")
g = gen(); next(g); del g

#: trace function
import sys
def tracer(frame, event, arg):
    sys.settrace(None)
    frame.f_builtins["open"](FILE, "w").write("touched")
sys.settrace(tracer)
(lambda: 0)()

#: profile function
import sys
def profiler(frame, event, arg):
    sys.setprofile(None)
    open(FILE, "w").write("touched")
sys.setprofile(profiler)
len("x")

#: excepthook
import sys, os
def hook(kind, value, trace):
    open(FILE, "w").write("touched")
sys.excepthook = hook
try:
    raise RuntimeError
except RuntimeError:
    sys.excepthook(*sys.exc_info())

#: unraisable hook from a finalizer
import sys
sys.unraisablehook = lambda info: open(FILE, "w").write("touched")
class D:
    def __del__(self): raise ValueError
D()

#: displayhook
import sys
sys.displayhook = lambda value: open(value, "w").write("touched")
exec(compile("FILE", "x", "single"))

#: frames of another thread
import sys, threading
event = threading.Event()
thread = threading.Thread(target=event.wait); thread.start()
sys._current_frames()[thread.ident].f_builtins["open"](FILE, "w").write("touched")
event.set()

#: exception group handler
try:
    raise ExceptionGroup("x", [ValueError(FILE)])
except* ValueError as group:
    open(group.exceptions[0].args[0], "w").write("touched")
