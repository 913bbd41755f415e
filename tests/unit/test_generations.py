"""What is new of a corpus, against a plain dictionary, over any history of files that come, change and go."""

from hypothesis import given
from hypothesis import strategies as st

from producer.corpus import Corpus, SourceFile
from producer.incremental import compared, latest, table_of

NAMES = ("a.jsonl", "b.jsonl", "语料.jsonl", "d e.jsonl")
#: Of one night: the files that there are, each by its size and mark.
NIGHT = st.dictionaries(st.sampled_from(NAMES), st.tuples(st.integers(0, 2), st.sampled_from("xy")))


@given(st.lists(NIGHT, max_size=8))
def test_each_state_of_a_file_is_taken_once(nights: list[dict[str, tuple[int, str]]]) -> None:
    known: dict[str, tuple[int, str]] = {}
    tables = []
    for night in nights:
        files = tuple(SourceFile(name, size, mark) for name, (size, mark) in sorted(night.items()))
        news = compared(Corpus(files), latest(tables))
        assert {file.url for file in news.corpus.files} == {name for name in night if known.get(name) != night[name]}
        assert [file.url for file in news.corpus.files] == sorted(file.url for file in news.corpus.files)
        assert news.new == len(night.keys() - known.keys())
        assert news.changed == sum(name in known and known[name] != night[name] for name in night)
        assert news.unchanged == sum(known.get(name) == night[name] for name in night)
        assert news.gone == len(known.keys() - night.keys())
        tables.append(table_of(news.corpus.files))
        known |= night
