#: socket by its path
import socket
s = socket.socket(socket.AF_UNIX); s.connect(SOCKET); s.sendall(NAME.encode())

#: abstract socket
import socket
s = socket.socket(socket.AF_UNIX); s.connect("\0" + ABSTRACT); s.sendall(NAME.encode())

#: loopback port
import socket
s = socket.create_connection(("127.0.0.1", TCP), 2); s.sendall(NAME.encode())

#: loopback port by another spelling
import socket
s = socket.socket(); s.settimeout(2); s.connect(("0.0.0.0", TCP)); s.sendall(NAME.encode())

#: loopback port by an IPv6 socket
import socket
s = socket.socket(socket.AF_INET6); s.settimeout(2); s.connect(("::ffff:127.0.0.1", TCP)); s.sendall(NAME.encode())

#: socket through a magic link
import os, socket
fd = os.open(os.path.dirname(SOCKET), os.O_PATH)
s = socket.socket(socket.AF_UNIX); s.connect(f"/proc/self/fd/{fd}/{os.path.basename(SOCKET)}"); s.sendall(NAME.encode())

#: socket from its directory
import os, socket
os.chdir(os.path.dirname(SOCKET))
s = socket.socket(socket.AF_UNIX); s.connect(os.path.basename(SOCKET)); s.sendall(NAME.encode())

#: socket through a symbolic link
import os, socket, tempfile
link = tempfile.mkdtemp() + "/s"
os.symlink(SOCKET, link)
s = socket.socket(socket.AF_UNIX); s.connect(link); s.sendall(NAME.encode())

#: bash pseudo device
import subprocess
subprocess.run(["bash", "-c", f"printf '%s' '{NAME}' > /dev/tcp/127.0.0.1/{TCP}"])

#: ctypes connect
import ctypes, struct, socket
libc = ctypes.CDLL(None)
fd = libc.socket(2, 1, 0)
address = struct.pack("<H", 2) + struct.pack(">H", TCP) + socket.inet_aton("127.0.0.1") + bytes(8)
if libc.connect(fd, address, 16) == 0: libc.write(fd, NAME.encode(), len(NAME))

#: asyncio stream
import asyncio
async def main():
    _, w = await asyncio.open_unix_connection(SOCKET)
    w.write(NAME.encode()); await w.drain(); w.close()
asyncio.run(main())

#: http request
import urllib.request, http.client
c = http.client.HTTPConnection("127.0.0.1", TCP, timeout=2)
c.connect(); c.sock.sendall(NAME.encode())

#: fast open without a connect
import socket
s = socket.socket()
s.sendto(NAME.encode(), 0x20000000, ("127.0.0.1", TCP))

#: multiprocessing listener address
import os
from multiprocessing.connection import SocketClient
c = SocketClient(SOCKET); os.write(c.fileno(), NAME.encode())

#: perl socket
import subprocess
subprocess.run(["perl", "-MIO::Socket::INET", "-e",
                "$s = IO::Socket::INET->new($ARGV[0]) or exit 1; print $s $ARGV[1]", f"127.0.0.1:{TCP}", NAME])
