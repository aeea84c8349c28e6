"""Whether a campaign's folder may have code executed: the file of a user's own training that it names.

A folder may come from somebody else. What it names is executed by `resume`, `generate` and `tune …/campaign.toml` only if this
user has run that very file for this very campaign: naming a file by hand (`tune path.py:name`) or `--trust` signs it, with
HMAC-SHA256 over the campaign's id, the file's path and the hash of its content, under a key that only this user has.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from maestune.campaign.reader import read_campaign
from maestune.errors import SettingsError, StoreError
from maestune.execution.model import is_user_model

KEY_BYTES = 32


def signature(campaign: str, model: str) -> str | None:
    """The signature of a user's file for a campaign; None where there is no file, or no key can be kept.

    `model`: path.py:name.
    """
    path, key = model_file(model), _key(make=True)
    content = None if path is None else _content(path)
    return None if path is None or content is None or key is None else _signed(key, campaign, path, content)


def check_trusted(folder: Path, model: str) -> None:
    """Raise SettingsError where a model is a user's file that was not signed for the campaign of a folder, or has changed."""
    path = model_file(model)
    if path is None:
        return
    key, content = _key(make=False), _content(path)
    if content is None:
        raise SettingsError(
            f"{path}, which the campaign in {folder} trains, cannot be read; mend that, or name it by hand."
        )
    try:
        facts = read_campaign(folder).facts
    except StoreError:  # stopped before it began, or no campaign's folder: nobody has signed anything
        facts = {}
    stored, campaign = facts.get("signature", ""), facts.get("id", "")
    if (
        key is not None
        and campaign
        and hmac.compare_digest(
            stored.encode("utf-8", "backslashreplace"), _signed(key, campaign, path, content).encode()
        )
    ):
        return
    raise SettingsError(
        f"{folder} asks for {path} to be executed, and this user has not run that file, as it is now, for this campaign: it has "
        "changed, or the folder comes from elsewhere. Read the file; add --trust to execute it."
    )


def model_file(model: str) -> Path | None:
    """The file of a user's own training; None for a family of ours, and where there is no file that could be executed.

    A training that was defined in a notebook is named as if it were in a file, which does not exist.
    """
    path = Path(model.partition(":")[0]).resolve()
    return path if is_user_model(model) and path.exists() else None


def _signed(key: bytes, campaign: str, path: Path, content: bytes) -> str:
    told = "\0".join((campaign, str(path), hashlib.sha256(content).hexdigest()))
    return hmac.new(key, told.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def state_folder() -> Path:
    """The folder of what belongs to this user alone ($XDG_STATE_HOME/maestune, else ~/.local/state/maestune)."""
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "maestune"


def _key(make: bool) -> bytes | None:
    """This user's key; None where there is none and none is to be made, or can be kept."""
    path = state_folder() / "key"
    try:
        if not path.exists() and make:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            unfinished = path.with_name(f".key.{os.getpid()}.part")
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
            try:
                os.link(unfinished, path)  # two that begin at once agree on the first
            except FileExistsError:
                pass
            finally:
                unfinished.unlink()
        key = path.read_bytes()
    except OSError:
        return None
    return key if len(key) == KEY_BYTES else None
