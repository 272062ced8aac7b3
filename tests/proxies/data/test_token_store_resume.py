"""A token store that was damaged, killed, or had no room."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mixing.corpora.documents import Source
from mixing.errors import InputError, MixlawError
from proxies.data.encode import Encoder
from proxies.data.token_store import TokenStore
from tests.proxies.data.small_corpora import contents, corpus, rebuild, stamps, texts


@pytest.fixture
def store(sources: list[Source], tokenizer: Path, tmp_path: Path) -> TokenStore:
    return rebuild(sources, tokenizer, tmp_path / "tokens")


class TestDamage:
    @pytest.mark.parametrize("extension", ["bin", "idx"])
    @pytest.mark.parametrize("damage", ["truncate", "extend", "alter"])
    def test_it_is_named_and_repaired_alone(
        self,
        store: TokenStore,
        sources: list[Source],
        tokenizer: Path,
        monkeypatch: pytest.MonkeyPatch,
        extension: str,
        damage: str,
    ) -> None:
        expected = contents(store.path)
        path = store.path / f"docs/train-00001.{extension}"
        content = path.read_bytes()
        damaged = {"truncate": content[:-2], "extend": content + b"\0", "alter": content[:-1] + b"\x55"}[
            damage
        ]
        path.write_bytes(damaged)
        said = {"truncate": "is cut short", "extend": "is too long", "alter": "is altered"}[damage]
        for attempt in (lambda: TokenStore.open(store.path), lambda: rebuild(sources, tokenizer, store.path)):
            with pytest.raises(
                InputError, match=rf"docs/train-00001\.{extension} {said}.*Delete this file"
            ) as caught:
                attempt()
            assert caught.value.exit_status == 2
        if damage == "alter":
            TokenStore.open(store.path, verify=False)
        path.unlink()
        with pytest.raises(InputError, match=r"is missing\. Run again"):
            TokenStore.open(store.path)

        encoded = []
        encode = Encoder.encode
        monkeypatch.setattr(Encoder, "encode", lambda self, *a: encoded.append(1) or encode(self, *a))
        rebuild(sources, tokenizer, store.path)
        assert len(encoded) == 1
        assert contents(store.path) == expected

    def test_a_store_that_is_not_there_or_not_one(
        self, store: TokenStore, sources: list[Source], tokenizer: Path
    ) -> None:
        with pytest.raises(InputError, match=r"manifest\.json is missing.*Run the study again"):
            TokenStore.open(store.path / "docs")
        manifest = store.path / "manifest.json"
        good = manifest.read_text()
        for broken in (good[:100], "{}", good.replace('"version": 1', '"version": 0')):
            manifest.write_text(broken)
            with pytest.raises(
                InputError, match=r"manifest\.json(: of version 0| is not a manifest).*Delete this file"
            ):
                TokenStore.open(store.path)
            assert rebuild(sources, tokenizer, store.path) == store
        (store.path / "docs" / "train-00000.json").write_text("{")
        manifest.unlink()
        assert rebuild(sources, tokenizer, store.path) == store

    def test_a_domain_that_cannot_be_split(self, tmp_path: Path, tokenizer: Path) -> None:
        with pytest.raises(InputError, match="domain 'one': none of its 1 documents"):
            rebuild([corpus(tmp_path / "one", ["only this"])], tokenizer, tmp_path / "tokens")
        assert not (tmp_path / "tokens" / "manifest.json").exists()

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
    def test_a_disk_that_is_full_or_read_only(
        self,
        sources: list[Source],
        tokenizer: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        code: int,
    ) -> None:
        folder = tmp_path / "tokens"
        synced = 0
        fsync = os.fsync

        def fail(handle: int) -> None:
            nonlocal synced
            synced += 1
            if synced > 4:
                raise OSError(code, os.strerror(code))
            fsync(handle)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            with pytest.raises(MixlawError, match=rf"docs/.*{os.strerror(code)}") as caught:
                rebuild(sources, tokenizer, folder)
        assert caught.value.exit_status == 1
        assert "\n" not in str(caught.value)
        assert not list(folder.rglob("*.partial"))
        assert contents(rebuild(sources, tokenizer, folder).path) == contents(
            rebuild(sources, tokenizer, tmp_path / "fresh").path
        )

    def test_a_folder_that_cannot_be_made(
        self, sources: list[Source], tokenizer: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "tokens").write_text("a file in the way")
        with pytest.raises(MixlawError, match=r"tokens.*cannot be written"):
            rebuild(sources, tokenizer, tmp_path / "tokens")


BUILD = """
import os, sys, time
from pathlib import Path
from mixing.corpora.documents import Source
from proxies.data.token_store import build
root = Path(sys.argv[1])
moment = int(sys.argv[3])
calls = 0
def counted(real):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == moment:
            os.kill(os.getpid(), 9)
        return real(*arguments, **options)
    return call
for name in ("replace", "fsync", "unlink", "chmod"):
    setattr(os, name, counted(getattr(os, name)))
sources = [Source(name, "general", (root / "text" / name,)) for name in ("docs", "code")]
build(sources, Path(sys.argv[2]), root / "tokens", 0.2, threads=1, shard_bytes=20_000)
"""


def test_killed_at_any_moment_it_resumes_to_the_same_bytes(
    sources: list[Source], tokenizer: Path, tmp_path: Path
) -> None:
    expected = contents(rebuild(sources, tokenizer, tmp_path / "fresh").path)
    killed = 0
    for moment in (1, 2, 4, 7, 9, 12, 20, 33, 58, 71):
        # Every attempt goes on from what the kills before it left.
        done = subprocess.run([sys.executable, "-c", BUILD, str(tmp_path), str(tokenizer), str(moment)])
        if done.returncode == -signal.SIGKILL:
            killed += 1
            with pytest.raises(InputError, match=r"manifest\.json is missing"):
                TokenStore.open(tmp_path / "tokens")
    finished = stamps(tmp_path / "tokens")
    store = rebuild(sources, tokenizer, tmp_path / "tokens")
    assert killed >= 5
    assert contents(store.path) == expected
    records = {path.stem for path in store.path.rglob("*.json")}
    kept = [name for name, stamp in stamps(store.path).items() if finished.get(name) == stamp]
    assert len(kept) > len(records)


def test_killed_while_it_encodes(sources: list[Source], tokenizer: Path, tmp_path: Path) -> None:
    corpus(sources[0].paths[0], texts(4000, 3), "b.jsonl")
    command = [sys.executable, "-c", BUILD, str(tmp_path), str(tokenizer), "0"]
    with subprocess.Popen(command) as process:
        deadline = time.monotonic() + 30
        while len(list((tmp_path / "tokens").rglob("*.json"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.002)
        process.kill()
    finished = stamps(tmp_path / "tokens")
    store = rebuild(sources, tokenizer, tmp_path / "tokens")
    records = [name for name in finished if name.endswith(".json")]
    assert len(records) >= 3
    assert all(stamps(store.path)[name] == finished[name] for name in records if name != "manifest.json")
    shutil.rmtree(tmp_path / "fresh", ignore_errors=True)
    assert contents(store.path) == contents(rebuild(sources, tokenizer, tmp_path / "fresh").path)


MEASURE = r"""
import re, sys
from pathlib import Path
from mixing.corpora.documents import Source
from proxies.data.token_store import build
build([Source("d", "general", (Path(sys.argv[1]),))], Path(sys.argv[2]), Path(sys.argv[3]), 0.1, threads=2,
      shard_bytes=1 << 20)
print(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
"""


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path, tokenizer: Path) -> None:
    peaks = []
    for size in (1000, 5000):
        corpus(tmp_path / f"{size}", [text * 6 for text in texts(size)])  # 2.6 and 13 MB
        command = [
            sys.executable,
            "-c",
            MEASURE,
            str(tmp_path / f"{size}"),
            str(tokenizer),
            str(tmp_path / f"t{size}"),
        ]
        peaks.append(int(subprocess.run(command, capture_output=True, check=True, text=True).stdout) / 1024)
    assert peaks[1] < peaks[0] + 25, f"MB: {peaks}"
