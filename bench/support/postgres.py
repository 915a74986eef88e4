"""A throw-away PostgreSQL for benches."""
import os
import pathlib
import socket
import subprocess
import time

PG_BIN = pathlib.Path("/usr/lib/postgresql/15/bin")
AS_POSTGRES = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []


class Server:
    def __init__(self, directory):
        self.data = directory / "data"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        subprocess.run([*AS_POSTGRES, PG_BIN / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "--no-sync"],
                       check=True, stdout=subprocess.DEVNULL)
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": directory, "autovacuum": "off",
                    "shared_buffers": "1GB", "max_wal_size": "8GB", "maintenance_work_mem": "512MB"}
        with open(self.data / "postgresql.conf", "a") as conf:
            conf.writelines(f"{key} = '{value}'\n" for key, value in settings.items())
        self.process = subprocess.Popen([*AS_POSTGRES, PG_BIN / "postgres", "-D", self.data], stderr=subprocess.DEVNULL)
        self.dsn = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        for _ in range(100):
            if subprocess.run(["psql", "-qAt", self.dsn, "-c", "SELECT 1"], capture_output=True).returncode == 0:
                return
            time.sleep(0.1)
        raise SystemExit("the server did not start")

    def run(self, sql):
        done = subprocess.run(["psql", "-qAt", "-v", "ON_ERROR_STOP=1", self.dsn], input=sql, text=True, check=True, stdout=subprocess.PIPE)
        return done.stdout.strip()

    def stop(self):
        self.process.terminate()
        self.process.wait()
