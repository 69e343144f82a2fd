"""How gunicorn serves Likewise: gunicorn --config deploy/gunicorn.conf.py 'web:create_app()'. See docs/security.md."""

import os

# Under systemd the socket is handed over (likewise-web.socket) and this is not used.
bind = os.environ.get("LIKEWISE_BIND", "127.0.0.1:8000")

# Uploaded scans live in the memory of the process that took them, so every question goes back to that process: one
# process, many threads. Decoders run in processes of their own, encoder and store use all cores without the interpreter's lock.
workers = 1
worker_class = "web.worker.PatientThreads"  # gthread, whose threads do not wait for slow headers
threads = int(os.environ.get("LIKEWISE_THREADS", "32"))
# Made in the process that serves: threads that forget scans in time, and those of encoder and store, do not survive a fork.
preload_app = False

# A body holds a thread while it arrives; web/limits.py leaves some free of them, and web/patience.py cuts off who sends slowly.
timeout = 120  # seconds without a sign of life from a process, not the length of a request
graceful_timeout = 60  # what runs may end when the server is stopped
keepalive = 75
backlog = 256

limit_request_line = 4094
limit_request_fields = 60
limit_request_field_size = 8190
# X_Remote_User must not pass for X-Remote-User
header_map = "drop"

# Heartbeats touch a file; on a disk they would stall with it.
worker_tmp_dir = "/dev/shm"

# The app writes one structured line a request, with its id and without query strings; gunicorn's would hold them.
accesslog = None
errorlog = "-"
loglevel = "info"

# Nobody steers it from another process, and it writes nothing to a home.
control_socket_disable = True
