"""The application: everything is put together here, once a process."""

import os

from flask import Flask

from web import guard, logs, problems, uploads
from web.config import Config


def create_app(config: Config | None = None) -> Flask:
    """The app of a configuration, by default that of the environment.

    It may be forked: the index is opened, and decoders are started, in the process that serves (`Service.start`).
    Raises `ConfigError`, `AuditError` or ValueError where it cannot serve.
    """
    from web.api import blueprint as api
    from web.pages import blueprint as pages
    from web.service import Service
    from web.signin import blueprint as signin

    if config is None:
        config = Config.from_environment(os.environ)
        logs.set_up()
    app = Flask("web")
    app.request_class = uploads.MemoryRequest
    app.config["MAX_CONTENT_LENGTH"] = config.upload_mb * 1024 * 1024
    config.audit.parent.mkdir(parents=True, exist_ok=True)
    logs.install(app)
    app.extensions["likewise.config"] = config
    app.extensions["likewise.room"] = uploads.Room(uploads.AT_ONCE * config.upload_mb * 1024 * 1024)
    guard.install(app, config)
    problems.install(app)
    for blueprint in (api, pages, signin):
        app.register_blueprint(blueprint)
    app.extensions["likewise.service"] = Service(config, app.extensions["likewise.audit"])
    return app
