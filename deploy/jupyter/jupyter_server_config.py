"""JupyterLab for more than one's own machine: a password or no start, no terminals, every action on record.

Comes in: JUPYTER_PASSWORD_HASH and TOKENMILL_STATE (/state). Goes out: settings. Always holds: there is no token beside
the password, root is refused, and logins, files and kernels leave a line each in STATE/audit/jupyter.jsonl.
Handlers of events can be set in a file only: as an option of the command line they stop the start (jupyter_server 2.21).
"""

import os
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

from jupyter_server.auth.identity import PasswordIdentityProvider, User
from tornado.web import RequestHandler
from traitlets.config import get_config

c = get_config()
state = Path(os.environ.get("TOKENMILL_STATE", "/state"))

# ---- who may come in -------------------------------------------------------------------------------------------------
MAKE_ONE = (
    "Make one with\n"
    "    python -c 'from jupyter_server.auth import passwd; print(passwd())'\n"
    "and write it into .env between single quotes, since it is full of dollar signs: JUPYTER_PASSWORD_HASH='argon2:…'"
)
password_hash = os.environ.get("JUPYTER_PASSWORD_HASH", "")
if not password_hash:
    sys.exit(f"jupyter: JUPYTER_PASSWORD_HASH is not set, and without a password nobody is let in. {MAKE_ONE}")
# Without its quotes `$argon2id` is taken for a variable, and what is left lets nobody in and does not say why.
if not password_hash.startswith("argon2:$argon2id$v="):
    sys.exit(f"jupyter: JUPYTER_PASSWORD_HASH is no argon2 hash. {MAKE_ONE}")

LOGIN = {
    "$id": "https://tokenmill/login/v1",
    "version": "1",
    "title": "Somebody gave a password",
    "personal-data": True,
    "type": "object",
    "required": ["action", "address"],
    "properties": {
        "action": {"enum": ["login", "refused"], "description": "Whether it was the right one."},
        "address": {"type": "string", "description": "Where from."},
    },
}


class RecordedLogin(PasswordIdentityProvider):
    """The password, with a line on record for every try."""

    def process_login_form(self, handler: RequestHandler) -> User | None:
        user = super().process_login_form(handler)
        events = handler.settings["event_logger"]
        if LOGIN["$id"] not in events.schemas:
            events.register_event_schema(LOGIN)
        action = "refused" if user is None else "login"
        events.emit(schema_id=LOGIN["$id"], data={"action": action, "address": handler.request.remote_ip})
        return user


c.ServerApp.identity_provider_class = RecordedLogin
c.PasswordIdentityProvider.hashed_password = password_hash
c.PasswordIdentityProvider.password_required = True
c.PasswordIdentityProvider.allow_password_change = False
c.IdentityProvider.token = ""
c.IdentityProvider.cookie_options = {"httponly": True, "samesite": "Strict"}

# ---- what is on record -----------------------------------------------------------------------------------------------
audit = state / "audit" / "jupyter.jsonl"
audit.parent.mkdir(parents=True, exist_ok=True)
c.EventLogger.handlers = [RotatingFileHandler(audit, maxBytes=64 << 20, backupCount=8)]

# ---- what can be done ------------------------------------------------------------------------------------------------
c.ServerApp.ip = "0.0.0.0"  # noqa: S104  # all that a container has; compose publishes it on the host's loopback only
c.ServerApp.port = 8888
c.ServerApp.port_retries = 0
c.ServerApp.open_browser = False
c.ServerApp.quit_button = False
c.ServerApp.root_dir = str(state / "notebooks")
c.ServerApp.terminals_enabled = False  # kernels leave a line on record, a terminal's commands would leave none
c.FileContentsManager.delete_to_trash = False
c.MappingKernelManager.cull_idle_timeout = 3600  # seconds; a notebook that is open in a browser keeps its kernel
c.KernelManager.transport = "ipc"  # sockets in this user's own folder, not ports of the loopback
c.LabApp.extension_manager = "readonly"
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"  # the folder defaults/ keeps the browser from asking
c.LabApp.news_url = None

# ---- what a page may do ----------------------------------------------------------------------------------------------
# Nothing with another host: what a notebook puts out can load nothing from there, nor tell it anything.
c.ServerApp.tornado_settings = {
    "headers": {
        "Content-Security-Policy": "; ".join(
            [
                "default-src 'self'",
                "script-src 'self' 'unsafe-inline' 'unsafe-eval'",  # JupyterLab compiles its settings' schemas
                "style-src 'self' 'unsafe-inline'",
                "img-src 'self' data: blob:",
                "font-src 'self' data:",
                "worker-src 'self' blob:",
                "base-uri 'self'",
                "form-action 'self'",
                "frame-ancestors 'none'",
                "object-src 'none'",
            ]
        ),
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }
}
