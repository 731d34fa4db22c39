#: format string to globals
class A:
    def f(self): pass
import os
text = "{0.f.__func__.__globals__[FILE]}".format(A())
open(text, "w").write("touched")

#: format with a hostile format method
class F:
    def __format__(self, spec): return str(open(spec, "w").write("touched"))
format(F(), FILE)

#: f-string with a call
f"{open(FILE, 'w').write('touched')}"

#: nested f-string
f"{f'{(lambda p: open(p, chr(119)).write(chr(120)))(FILE)}'}"

#: f-string with walrus and conversion
f"{(o := open)!r:>1}{o(FILE, 'w').write('touched')}"

#: percent formatting with a mapping
class M:
    def __getitem__(self, key): return open(key, "w").write("touched")
"%({})s".format(FILE) % M()

#: str.translate table
class T:
    def __getitem__(self, ordinal): return open(FILE, "a").write("touched") and ordinal
"x".translate(T())

#: template substitution
import string
class T(dict):
    def __missing__(self, key): return str(open(FILE, "w").write("touched"))
string.Template("$x").substitute(T())

#: logging filters
import logging
log = logging.getLogger("x")
log.addFilter(lambda record: open(record.getMessage(), "w").write("touched"))
log.warning(FILE)

#: a logging file handler
import logging
logging.FileHandler(FILE).emit(logging.makeLogRecord({"msg": "touched"}))

#: regular expression callback
import re
re.sub(".+", lambda m: str(open(m.group(), "w").write("touched")), FILE)

#: names in mathematical letters
𝔬𝔭𝔢𝔫(FILE, "w").write("touched")

#: names in full width
ｅｘｅｃ("open(FILE, 'w').write('touched')")

#: italic builtins by attribute
__builtins__.𝘰𝘱𝘦𝘯(FILE, "w").write("touched")

#: source with another encoding
exec("# coding: utf-7\nopen(FILE, +ACc-w+ACc-).write(+ACc-touched+ACc-)".encode())

#: source in rot13
import codecs
exec(codecs.decode("bcra(SVYR, 'j').jevgr('gbhpurq')", "rot13").replace("SVYR", "FILE"))

#: source with form feed and escapes
exec("\x0copen\\\n(FILE, '\x77').write('touched')")

#: string to code by bytes
exec(bytes([111, 112, 101, 110, 40, 70, 73, 76, 69, 44, 39, 119, 39, 41]).decode())
