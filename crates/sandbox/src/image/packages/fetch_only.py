# Starts pip, which may fetch and unpack but start no program: a package that wants to be built, or fetched by git,
# would run its own code. The one exception is the operator's own keyring, which has the registry's password.
import os, sys


def refuse(event, args):
    if event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.fork", "os.forkpty"):
        program = args[0] if args else ""
        if event == "subprocess.Popen" and os.path.basename(os.fsdecode(program)) == "keyring":
            return
        raise PermissionError(1, "a package wants to be built, or to be fetched by a program, which is not done here")


sys.addaudithook(refuse)
from pip._internal.cli.main import main

sys.exit(main(sys.argv[1:]))
