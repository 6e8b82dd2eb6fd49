"""Files of a web server are downloaded once, whole, and asked for again only while they may still change."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ratchet.core.clock import Period, local_midnight
from ratchet.core.errors import SettingsError, SourceError, SourceUnavailableError
from ratchet.core.progress import Progress, show_progress
from ratchet.sources.http_source import HttpSource, http_source, remote_files
from ratchet.use_case.batch import Batch, Gap, Unread
from ratchet.use_case.contract import INSTANT
from tests.support.messages import missing
from tests.support.web_server import WebServer, web_server, write_certificate

SCHEMA = pa.schema({"id": pa.int64(), "at": INSTANT})
YEAR = Period.between(date(2024, 1, 1), date(2024, 4, 1), "Europe/Berlin")
MONTHLY = "/{table}/{year}-{month:02}.parquet"
JANUARY, FEBRUARY, MARCH = (f"/payments/2024-{month}.parquet" for month in ("01", "02", "03"))


def parquet(*ids: int) -> bytes:
    """A Parquet file with these ids."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"id": ids, "at": ["2024-01-01"] * len(ids)}), sink)
    return sink.getvalue()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A server with two of three months."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with web_server() as server:
        server.files = {JANUARY: parquet(1), FEBRUARY: parquet(2, 3)}
        yield server


@pytest.fixture
def source(tmp_path: Path) -> HttpSource:
    """A source that waits for nothing between its three attempts."""
    declared = http_source("payments", SCHEMA, timezone="Europe/Berlin")
    assert isinstance(declared, HttpSource)
    return replace(declared, folder=tmp_path, waits=(0.0, 0.0))


def load(source: HttpSource, server: WebServer, path: str = MONTHLY, **options: Any) -> dict[str, Batch]:
    """Name → batch."""
    found = source(path if "://" in path else server.address + path, options, YEAR)
    return {batch.name: batch for batch in found if isinstance(batch, Batch)}


def ids(batch: Batch) -> list[int]:
    return list(batch.read()[0]["id"].to_pylist())


class TestSpans:
    @pytest.mark.parametrize(
        ("template", "names"),
        [
            ("https://h/{year}/{month:02}.csv", ["2024-01", "2024-02", "2024-03"]),
            ("https://h/{year}.csv", ["2024"]),
            ("https://h/all.csv", ["all"]),
            ("https://h/{year}{month:02}{day:02}", [str(day) for day in YEAR.dates()][1:]),
        ],
    )
    def test_are_the_local_ones_that_the_period_touches(self, template: str, names: list[str]) -> None:
        """Of the finest field that is named. The period begins in December by UTC, but not in Berlin."""
        assert names == [each.name for each in remote_files(template, "payments", YEAR, "Europe/Berlin")]

    def test_fill_in_the_address(self) -> None:
        """As Python formats numbers; other braces are written twice."""
        template = "https://h/{table}/{{x}}/{month:02}-{year}?day={day}"
        one_day = Period.between(date(2024, 2, 29), date(2024, 3, 1), "UTC")
        [remote] = remote_files(template, "payments", one_day, "UTC")
        assert ("https://h/payments/{x}/02-2024?day=29", (date(2024, 2, 29), date(2024, 3, 1))) == (
            remote.address,
            remote.span,
        )

    @pytest.mark.parametrize(
        ("template", "word"),
        [
            ("ftp://h/{year}", "https://"),
            ("https://h/{hour}", "{hour}"),
            ("https://h/{year.real}", "{year.real}"),
            ("https://h/{}", "{}"),
            ("https://h/{year", "brace"),
            ("https://h/{year:q}", "field"),
            ("https://h/{month}-{day}/{year:.0}", "field"),
            ("https://h/{day}", "same"),
            ("https://h:port/{year}", "no address"),
            ("https:///{year}", "no address"),
        ],
    )
    def test_that_are_written_wrongly_are_refused(self, template: str, word: str) -> None:
        """With where it stands, and without the secrets of the address."""
        with pytest.raises(SettingsError, match=r"params\.yaml, source\.path") as raised:
            remote_files(f"{template}?s3cret", "payments", YEAR, "Europe/Berlin")
        assert [] == missing(str(raised.value), word)
        assert "s3cret" not in str(raised.value)


class TestDownloads:
    def test_are_batches(self, source: HttpSource, server: WebServer) -> None:
        """Of the months that the server has; the one that it does not have yet is named."""
        found = load(source, server)
        assert {"2024-01": [1], "2024-02": [2, 3]} == {name: ids(batch) for name, batch in found.items()}
        counts = [batch.count() for batch in found.values() if batch.count]
        assert ([1, 2], {None}) == (counts, {batch.files for batch in found.values()})
        [unread] = [each for each in source(server.address + MONTHLY, {}, YEAR) if isinstance(each, Unread)]
        assert "2024-03" == unread.name
        assert [] == missing(unread.reason, "not there yet", MARCH.removeprefix("/"))

    def test_cost_one_question_for_each_open_month(self, source: HttpSource, server: WebServer) -> None:
        """And none for a month that ended long before the period's end, unless it is asked for."""
        before = load(source, server)
        assert [200, 200, 404] == server.statuses()
        after = load(source, server)
        assert [304, 404] == server.statuses()
        load(source, server, ask_again_days=90)
        assert [304, 304, 404] == server.statuses()
        assert [batch.digest for batch in before.values()] == [batch.digest for batch in after.values()]

    def test_follow_a_change(self, source: HttpSource, server: WebServer) -> None:
        """A new file, another content, a file that is gone: only that batch changes."""
        before = load(source, server)
        server.files |= {FEBRUARY: parquet(4), MARCH: parquet(5)}
        after = load(source, server)
        assert before["2024-01"].digest == after["2024-01"].digest
        assert before["2024-02"].digest != after["2024-02"].digest
        assert [[4], [5]] == [ids(after[name]) for name in ("2024-02", "2024-03")]
        del server.files[FEBRUARY]
        assert ["2024-01", "2024-03"] == [*load(source, server)]
        assert source.folder is not None
        kept = [path.name for path in (source.folder / "payments").iterdir() if path.name != ".lock"]
        assert [2, 2] == [sum(name.startswith(month) for name in kept) for month in ("2024-01", "2024-03")]
        assert 4 == len(kept)

    def test_say_up_to_when_they_are_complete(self, source: HttpSource, server: WebServer) -> None:
        """Up to the local end of the last month that is there; a month before it that is not is a gap."""
        del server.files[JANUARY]
        gap, batch, unread = source(server.address + MONTHLY, {}, YEAR)
        january = Period.between(date(2024, 1, 1), date(2024, 2, 1), "Europe/Berlin")
        assert Gap("payments", "2024-01", january) == gap
        assert isinstance(batch, Batch)
        assert local_midnight(date(2024, 3, 1), "Europe/Berlin") == batch.complete_until
        assert isinstance(unread, Unread)
        server.files["/all.parquet"] = parquet(1)
        [whole] = source(f"{server.address}/all.parquet", {}, YEAR)
        assert isinstance(whole, Batch)
        assert whole.complete_until is None

    def test_without_a_version_are_downloaded_again(self, source: HttpSource, server: WebServer) -> None:
        """A server that names no version is asked for the whole file; equal content is still the same batch."""
        server.without = {"ETag"}
        before = load(source, server)["2024-02"].digest
        assert before == load(source, server)["2024-02"].digest
        assert [200, 200, 404, 200, 404] == server.statuses()

    def test_of_another_server_are_other_ones(self, source: HttpSource, server: WebServer) -> None:
        """Its version may have the same name."""
        load(source, server)
        with web_server() as other:
            other.files = {JANUARY: parquet(7)}
            assert [7] == ids(load(source, other)["2024-01"])
            assert "If-None-Match" not in other.asked[0].headers

    def test_are_asked_for_again_with_another_query(self, source: HttpSource, server: WebServer) -> None:
        """Also those of a month that ended long ago, but not the whole file if it did not change."""
        load(source, server, f"{MONTHLY}?version=1")
        server.statuses()
        load(source, server, f"{MONTHLY}?version=2")
        assert [304, 304, 404] == server.statuses()

    @pytest.mark.parametrize("lost", ["2024-01.json", "2024-01.*.parquet"])
    def test_that_were_lost_are_made_again(self, lost: str, source: HttpSource, server: WebServer) -> None:
        """Whichever of copy and note is gone."""
        load(source, server)
        assert source.folder is not None
        [path] = (source.folder / "payments").glob(lost)
        path.unlink()
        assert [1] == ids(load(source, server)["2024-01"])

    def test_that_were_edited_are_refused(self, source: HttpSource, server: WebServer) -> None:
        """A copy must still be what was downloaded when it is read."""
        load(source, server)
        assert source.folder is not None
        [path] = (source.folder / "payments").glob("2024-01.*.parquet")
        path.write_bytes(parquet(9))
        with pytest.raises(SourceError, match=r"2024-01\.parquet: .*no longer") as raised:
            ids(load(source, server)["2024-01"])
        assert [] == missing(raised.value.remedy, str(path))


class TestFaults:
    def test_of_a_moment_are_overcome(self, source: HttpSource, server: WebServer) -> None:
        """By further attempts."""
        server.faults[JANUARY] = [503, 429]
        assert [1] == ids(load(source, server)["2024-01"])
        assert [503, 429, 200] == server.statuses()[:3]

    def test_that_last_are_an_error(self, source: HttpSource, server: WebServer) -> None:
        """After a bounded number of attempts, with the file and the last answer."""
        server.faults[FEBRUARY] = [500] * 9
        with pytest.raises(SourceUnavailableError, match=r"2024-02\.parquet: .*attempt 3 .*500"):
            load(source, server)

    def test_of_a_server_that_is_away_are_an_error(self, source: HttpSource) -> None:
        """In one line that names it."""
        with pytest.raises(
            SourceUnavailableError, match=r"^http://127\.0\.0\.1:9/a\.csv: cannot be downloaded"
        ) as raised:
            source("http://127.0.0.1:9/a.csv", {}, YEAR)
        assert "\n" not in str(raised.value)

    def test_of_a_connection_cost_only_the_rest(self, source: HttpSource, server: WebServer) -> None:
        """A download that was cut goes on where it ended."""
        size = len(server.files[JANUARY])
        server.faults[JANUARY] = [-100, -50]
        assert [1] == ids(load(source, server)["2024-01"])
        assert [(200, 100), (206, 50), (206, size - 150)] == [(each.status, each.sent) for each in server.asked[:3]]
        server.asked.clear()
        load(source, server, ask_again_days=90)
        assert 304 == server.asked[0].status

    def test_of_a_run_cost_only_the_rest(self, source: HttpSource, server: WebServer) -> None:
        """A run that gave up leaves to the next one what it has."""
        server.faults[JANUARY] = [-100, 500, 500]
        with pytest.raises(SourceUnavailableError):
            load(source, server)
        server.asked.clear()
        assert [1] == ids(load(source, server)["2024-01"])
        assert (206, len(server.files[JANUARY]) - 100) == (server.asked[0].status, server.asked[0].sent)

    @pytest.mark.parametrize("without", ["ETag", "Range"])
    def test_where_no_rest_can_be_asked_for_begin_again(
        self, without: str, source: HttpSource, server: WebServer
    ) -> None:
        """A server that names no version, or sends whole files only."""
        server.without, server.faults[JANUARY] = {without}, [-100]
        assert [1] == ids(load(source, server)["2024-01"])
        assert [200, 200] == server.statuses()[:2]

    def test_of_a_server_that_sends_parts_cost_only_the_rest(self, source: HttpSource, server: WebServer) -> None:
        """A part in the middle is not taken for the end."""
        size = len(server.files[JANUARY])
        server.faults[JANUARY], server.most = [-100], size - 150
        assert [1] == ids(load(source, server)["2024-01"])
        assert [100, size - 150, 50] == [each.sent for each in server.asked[:3]]

    @pytest.mark.parametrize("without", ["nothing", "If-Range"])
    def test_between_two_versions_begin_again(self, without: str, source: HttpSource, server: WebServer) -> None:
        """The rest of a new version is never put behind the beginning of the old one, even if the server would send it."""
        server.without = {without}
        server.faults[JANUARY] = [-100, 500, 500]
        with pytest.raises(SourceUnavailableError):
            load(source, server)
        server.files[JANUARY] = parquet(8, 9)
        assert [8, 9] == ids(load(source, server)["2024-01"])

    def test_after_the_last_byte_begin_again(self, source: HttpSource, server: WebServer) -> None:
        """A run may be killed between the last byte and the name of the copy."""
        server.faults[JANUARY] = [-100, 500, 500]
        with pytest.raises(SourceUnavailableError):
            load(source, server)
        assert source.folder is not None
        (source.folder / "payments" / "2024-01.part").write_bytes(server.files[JANUARY])
        assert [1] == ids(load(source, server)["2024-01"])

    def test_that_nobody_would_see_are_refused(self, source: HttpSource, server: WebServer) -> None:
        """An answer that does not say where it ends may have been cut."""
        server.without = {"Content-Length"}
        with pytest.raises(SourceError, match="length"):
            load(source, server)

    def test_of_a_file_name_its_address(self, source: HttpSource, server: WebServer) -> None:
        """Not the copy."""
        server.files[JANUARY] = b"PAR1 and no more"
        with pytest.raises(SourceError, match=r"^http://\S+/payments/2024-01\.parquet: cannot be read as Parquet"):
            load(source, server)["2024-01"].read()


class TestSecrets:
    @pytest.mark.parametrize("status", [401, 403, 400, 451])
    def test_are_in_no_refusal(
        self, status: int, source: HttpSource, server: WebServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nor in a log or a note; the server gets them."""
        caplog.set_level(logging.DEBUG, logger="httpx")
        address = server.address.replace("//", "//ann:s3cret@") + f"{MONTHLY}?token=s3cret"
        server.faults[FEBRUARY] = [status]
        with pytest.raises(SourceError, match=rf"2024-02\.parquet: answers {status}") as raised:
            load(source, server, address)
        assert not isinstance(raised.value, SourceUnavailableError)
        assert "Authorization" in server.asked[0].headers
        assert "token=s3cret" in server.asked[0].path
        assert source.folder is not None
        notes = [path.read_text(encoding="utf-8") for path in source.folder.rglob("*.json")]
        assert notes
        assert [] == [text for text in (str(raised.value), caplog.text, *notes) if "s3cret" in text]

    def test_may_stand_in_netrc(
        self, source: HttpSource, server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Then they are in no file of the project."""
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login ann password s3cret\n", encoding="utf-8")
        (tmp_path / "netrc").chmod(0o600)
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        load(source, server)
        assert server.asked[0].headers["Authorization"].startswith("Basic ")


class TestEncryption:
    @pytest.fixture
    def certificate(self, tmp_path: Path) -> Path:
        return write_certificate(tmp_path / "server.pem")

    def test_needs_a_trusted_certificate(
        self, certificate: Path, source: HttpSource, monkeypatch: pytest.MonkeyPatch, server: WebServer
    ) -> None:
        """An unknown authority is refused at once, with how to trust it, which works."""
        with web_server(certificate) as encrypted:
            encrypted.files = server.files
            with pytest.raises(SourceError, match="certificate") as raised:
                load(source, encrypted)
            assert not isinstance(raised.value, SourceUnavailableError)
            assert "SSL_CERT_FILE" in raised.value.remedy
            monkeypatch.setenv("SSL_CERT_FILE", "no such file")
            with pytest.raises(SettingsError, match="SSL_CERT_FILE=no such file"):
                load(source, encrypted)
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
            assert [1] == ids(load(source, encrypted)["2024-01"])

    def test_is_not_given_up(
        self, certificate: Path, source: HttpSource, monkeypatch: pytest.MonkeyPatch, server: WebServer
    ) -> None:
        """A server that sends on to an address without it is refused. Another one with it is followed."""
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with web_server(certificate) as encrypted, web_server(certificate) as other:
            other.files = server.files
            encrypted.files = {FEBRUARY: parquet(2)}
            encrypted.moved[JANUARY] = other.address + JANUARY
            assert [1] == ids(load(source, encrypted)["2024-01"])
            encrypted.moved[FEBRUARY] = server.address + FEBRUARY
            with pytest.raises(SourceError, match="encryption"):
                load(source, encrypted)


def test_a_download_shows_how_far_it_is(source: HttpSource, server: WebServer) -> None:
    """In thousands of bytes, of so many if the server says so."""
    server.files = {JANUARY: b"id,at\n" + b"1,2024-01-01\n" * 100_000}
    seen: list[Progress] = []
    with show_progress(seen.append):
        load(source, server)
    (total,) = {each.total for each in seen if "2024-01" in each.what}
    assert 1300 == total == seen[-1].done


def test_a_source_without_a_folder_is_refused(server: WebServer) -> None:
    """A loader that a function of the use case calls itself keeps nothing."""
    with pytest.raises(SettingsError, match=r"several_tables"):
        http_source("payments", SCHEMA, timezone="UTC")(server.address + MONTHLY, {}, YEAR)


def test_nothing_is_asked_for_an_empty_period(source: HttpSource, server: WebServer) -> None:
    """It touches no month."""
    assert [] == [*source(server.address + MONTHLY, {}, Period(YEAR.start, YEAR.start))]
    assert [] == server.asked


def test_options_are_checked(source: HttpSource, server: WebServer) -> None:
    """A misspelt one would have no effect."""
    with pytest.raises(SettingsError, match="ask_again_days"):
        load(source, server, ask_again_day=3)
