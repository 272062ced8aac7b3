"""What `mixlaw init` reads off the files: names, formats, fields and encodings."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.cli.init import init
from flows.study.corpora import study_corpora
from flows.study.loading import load_study
from flows.study.models import Study
from flows.study.template import write_study
from mixing.corpora.documents import documents
from mixing.errors import InputError

TEXTS = [f"Ein längerer Text über Köln, Nummer {i}, damit er länger ist als sein Titel." for i in range(20)]


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def initial(folder: Path) -> tuple[Study, str]:
    out = folder.parent / "study.yaml"
    write_study(folder, out)
    return load_study(out), out.read_text(encoding="utf-8")


def test_each_folder_is_looked_into(tmp_path: Path) -> None:
    corpora = tmp_path / "corpora"
    records = [{"title": "T", "content": text, "id": i} for i, text in enumerate(TEXTS)]
    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    write(corpora / "web" / "a.json.gz", gzip.compress(lines))
    write(
        corpora / "nested" / "a.json",
        json.dumps([{"data": {"text": text}} for text in TEXTS], indent=1).encode(),
    )
    write(corpora / "clone" / "README.md", b"---\nlicense: mit\n---\n" * 500)
    (corpora / "clone" / "data").mkdir()
    pq.write_table(
        pa.table({"url": ["u"] * 20, "raw_content": TEXTS}), corpora / "clone" / "data" / "a.parquet"
    )
    write(corpora / "old" / "a.txt", "\n".join(TEXTS).encode("cp1252"))
    write(corpora / "old" / "b.txt", "\n".join(TEXTS).encode())
    write(
        corpora / "windows" / "a.csv", ("text\n" + "".join(f'"{text}"\n' for text in TEXTS)).encode("utf-16")
    )
    study, text = initial(corpora)
    read = {name: (part.format, part.text_field) for name, part in study.domains.items()}
    assert read == {
        "web": ("jsonl", "content"),
        "nested": ("json", "data.text"),
        "clone": ("parquet", "raw_content"),
        "old": (None, "text"),
        "windows": ("csv", "text"),
    }
    assert study.domains["old"].encoding[0] == "utf-8"
    assert study.domains["old"].encoding == ("utf-8", "cp1252")
    assert study.domains["windows"].encoding == ("utf-16",)
    for source in study_corpora(study):
        found = [document.text for document in documents(source)]
        assert found == (["\n".join(TEXTS)] * 2 if source.name == "old" else TEXTS), source.name
    assert "Is it true that web is general" in text
    assert "text_field content (fields with text: content, title)" in text


def test_names_are_those_of_the_folders_in_any_script(tmp_path: Path) -> None:
    for name in ("日本語", "中文", "Ärzte", "web", "!!"):
        write(tmp_path / "corpora" / name / "a.txt", b"text")
    study, _ = initial(tmp_path / "corpora")
    assert set(study.domains) == {"日本語", "中文", "Ärzte", "web", "domain-1"}
    assert study.path(study.domains["domain-1"].paths[0]) == tmp_path / "corpora" / "!!"


def test_two_folders_of_one_name_are_both_named(tmp_path: Path) -> None:
    for name in ("a b", "a-b"):
        write(tmp_path / "corpora" / name / "a.txt", b"text")
    with pytest.raises(InputError, match="'a b' and 'a-b' would both be the domain 'a-b'"):
        initial(tmp_path / "corpora")


WESTERN = {
    "french": "L’élève a goûté la crème à l’hôpital, où « Noël » est naïf",
    "spanish": "El niño pequeño también mañana, ¿qué año?",
    "german": "Größe über schöne Straßen – Äpfel",
    "swedish": "Två små sjöar på en ö",
}
OTHERS = {
    "hungarian": ("Az őszi idő gyönyörű, és a fűtött házban külön tűz él.", "cp1250"),
    "russian": ("Привет, как дела? Мы читаем книгу о языке.", "cp1251"),
}


def test_guessed_encodings_and_fields_are_on_the_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpora = tmp_path / "corpora"
    for name, text in WESTERN.items():
        write(corpora / name / "a.txt", f"plain\n{text}\n".encode("cp1252") * 10)
    for name, (text, encoding) in OTHERS.items():
        write(corpora / name / "a.txt", f"plain\n{text}\n".encode(encoding) * 10)
    write(corpora / "plain" / "a.txt", b"plain text")
    (corpora / "asked").mkdir()
    pq.write_table(
        pa.table({"question": ["what?"], "answer": ["This is it."]}), corpora / "asked" / "a.parquet"
    )
    init(corpora, tmp_path / "study.yaml")
    domains = load_study(tmp_path / "study.yaml").domains
    assert all(domains[name].encoding == ("cp1252",) for name in WESTERN)
    assert all(domains[name].encoding == (encoding,) for name, (_, encoding) in OTHERS.items())
    screen = capsys.readouterr().out
    for name, text in WESTERN.items():
        assert f"check it: {name}: read as cp1252, e.g. {text!r}" in screen
    for name, (text, encoding) in OTHERS.items():
        assert f"check it: {name}: read as {encoding}, e.g. {text!r}" in screen
    assert "check it: asked: text_field answer (fields with text: answer, question)" in screen
    assert "plain:" not in screen
