//! What the filter refuses is not missed. The doors that it closes are in `attack/surface.rs`.

use super::world::value_of;

#[test]
fn clone3_is_unknown_so_that_the_library_falls_back() {
    let code = "import ctypes, subprocess\nlibc = ctypes.CDLL(None, use_errno=True)\n\
                libc.syscall(435, 0, 0), ctypes.get_errno(), subprocess.run(['true']).returncode";
    assert_eq!(value_of(code), "(-1, 38, 0)");
}

#[test]
fn ordinary_programs_do_not_notice_the_filter() {
    let code = "import asyncio, concurrent.futures, multiprocessing, os, shutil, socket, sqlite3, subprocess, tempfile, threading\n\
                a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'\n\
                with concurrent.futures.ThreadPoolExecutor(4) as pool: assert sum(pool.map(int, '123')) == 6\n\
                with tempfile.TemporaryDirectory() as d:\n    \
                shutil.copytree('/usr/lib/python3.11/json', d + '/json') if os.path.exists('/usr/lib/python3.11/json') else None\n    \
                c = sqlite3.connect(d + '/x.db'); c.execute('create table t(a)'); c.commit()\n    \
                shutil.copy('/usr/bin/bash', d + '/bash'); assert subprocess.run([d + '/bash', '-c', 'exit 5']).returncode == 5\n\
                async def main():\n    p = await asyncio.create_subprocess_exec('true'); return await p.wait()\n\
                assert asyncio.run(main()) == 0\n\
                q = multiprocessing.get_context('fork').Queue(); p = multiprocessing.get_context('fork').Process(target=q.put, args=(7,))\n\
                p.start(); got = q.get(); p.join(); got";
    assert_eq!(value_of(code), "7");
}
