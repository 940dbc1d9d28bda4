"""Profiles of a bundle that is saved: its manifest and card are written anew, and no other file of it."""

from __future__ import annotations

import json

from rr_export.bundle.atomic_write import alone_in, put_file, writable
from rr_export.bundle.bundle import Bundle
from rr_export.bundle.file_names import MANIFEST
from rr_export.bundle.manifest import manifest_text, read_profile, write_profile
from rr_export.errors import BundleError
from rr_export.laws.profile import Profile

BESIDE = ("files", "golden", "targets", "profiles")  # what a manifest.json says beside what the model says


def put_profile(bundle: Bundle, name: str, profile: Profile | None, *, overwrite: bool = False) -> None:
    """The folder that a bundle was loaded from has one more profile, or one less; so has the bundle.

    Who opens the folder meanwhile finds it as it was or as it is. What other processes write there is kept.

    Args:
        bundle: a bundle that is saved in a folder.
        name: of the profile.
        profile: the profile, as ``with_profile`` makes it; None: there shall be none of that name.
        overwrite: replace one of that name.

    Raises:
        BundleError: the bundle is no folder, another one is there now, it has a profile of that name already or, where
            there shall be none, has none; or the system does not let it be written.
    """
    folder = bundle.path
    if folder is None or not folder.is_dir():
        raise BundleError(
            f"{folder or 'profile'}: expected a bundle in a folder, whose manifest.json has room for profiles, got "
            f"{'one that is not saved' if folder is None else 'a single file'}; save it to a folder"
        )
    place = bundle.card_folder or folder
    with writable(folder), alone_in(place.absolute().parent), alone_in(folder):
        told = json.loads((folder / MANIFEST).read_text())
        about = {key: value for key, value in told.items() if key not in BESIDE}
        if about != json.loads(json.dumps(bundle.manifest)):
            raise BundleError(
                f"{folder}: expected the bundle that was loaded, got another one, which was saved there since; load "
                "that one"
            )
        rows = dict(told.get("profiles", {}))
        if profile is None:
            if name not in rows:
                known = ", ".join(rows) or "none"
                raise BundleError(f"{folder}: expected the profile {name!r}, got {known}; name one of them")
            del rows[name]
        elif name in rows and not overwrite:
            raise BundleError(
                f"{folder}: expected no profile {name!r}, got one; choose another name, or pass overwrite=True "
                "(--overwrite)"
            )
        else:
            rows[name] = write_profile(profile)
        told["profiles"] = rows
        if not rows:
            del told["profiles"]
        put_file(folder / MANIFEST, manifest_text(told, indent=1).encode())
    bundle.profiles = {name: read_profile(row, bundle.plan) for name, row in rows.items()}
    bundle.renew_card()
