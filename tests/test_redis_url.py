"""REDIS_URL: every form is taken, every mistake is one line that tells no secret."""

import ssl

import pytest

from redis_url import ConfigError, RedisUrl

WHOLE = {"host": "h", "port": 6379, "db": 0}


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("redis://h:6379/0", WHOLE),
        ("valkey://h:6379/0", WHOLE),
        ("redis://h", {"host": "h", "db": 0}),
        ("redis://h/3", {"host": "h", "db": 3}),
        ("redis://[::1]:6380", {"host": "::1", "port": 6380, "db": 0}),
        ("redis://:s%40crt@h:6379/0", {**WHOLE, "password": "s@crt"}),
        ("redis://me:it@h:6379", {**WHOLE, "username": "me", "password": "it"}),
        ("redis://h:6379?client_name=joip", {**WHOLE, "client_name": "joip"}),
    ],
)
def test_one_server_is_named_by_host_port_and_database(text, options):
    assert RedisUrl.parse(text) == RedisUrl(options)


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
def test_tls_takes_the_drivers_options_for_it(scheme):
    url = RedisUrl.parse(
        f"{scheme}://h:6379/0?ssl_ca_certs=/ca.pem&ssl_check_hostname=false"
    )
    assert url.options["connection_class"].__name__ == "SSLConnection"
    assert url.options["ssl_ca_certs"] == "/ca.pem"
    assert url.options["ssl_check_hostname"] is False


def test_a_unix_socket_may_have_a_database_and_a_password():
    options = RedisUrl.parse("unix:///run/redis.sock?db=2&password=secret").options
    assert options["path"] == "/run/redis.sock"
    assert (options["db"], options["password"]) == (2, "secret")


@pytest.mark.parametrize(
    ("text", "tls", "hosts", "service", "database"),
    [
        ("redis+sentinel://h1:1,h2:2/main/3", False, [("h1", 1), ("h2", 2)], "main", 3),
        ("valkey+sentinel://h1:1/main", False, [("h1", 1)], "main", 0),
        ("rediss+sentinel://h1:1,h2/a.b-c", True, [("h1", 1), ("h2", 1)], "a.b-c", 0),
        ("redis+cluster://h1:1,[::1]:2", False, [("h1", 1), ("::1", 2)], "", None),
        ("valkeys+cluster://h1:7000,h2/", True, [("h1", 7000), ("h2", 7000)], "", None),
    ],
)
def test_sentinels_and_clusters_are_lists_of_hosts(text, tls, hosts, service, database):
    url = RedisUrl.parse(text)
    assert text.partition("://")[0].endswith(url.kind)
    assert (list(url.hosts), url.service) == (hosts, service)
    assert (url.options["ssl"], url.options.get("db")) == (tls, database)


def test_the_sentinels_have_a_login_of_their_own():
    url = RedisUrl.parse(
        "redis+sentinel://me:redis%2Fs@h:1/main?sentinel_username=you"
        "&sentinel_password=sentinel%2Fs&client_name=joip"
    )
    assert url.sentinel_login == {"username": "you", "password": "sentinel/s"}
    assert url.options["username"] == "me"
    assert url.options["password"] == "redis/s"
    assert url.options["client_name"] == "joip"


@pytest.mark.parametrize(
    "where", ["rediss://h", "rediss+sentinel://h:1/main", "rediss+cluster://h:1"]
)
def test_a_ca_that_python_3_13_finds_too_lax_can_be_taken(where):
    """Its ssl.create_default_context() is strict, where that of older ones was not."""
    url = RedisUrl.parse(f"{where}?ssl_exclude_verify_flags=VERIFY_X509_STRICT")
    strict = [ssl.VerifyFlags.VERIFY_X509_STRICT]
    assert url.options["ssl_exclude_verify_flags"] == strict


@pytest.mark.parametrize(
    "text",
    [
        *("", "redis", "localhost:6379", "http://h", "Redis://h", "valkeyss://h"),
        *(
            "redis://",
            "redis://h:port/0",
            "redis://h:99999",
            "redis://h:0",
            "redis://h:",
        ),
        *("redis://h/zero", "redis://h/-1", "redis://h/00000", "redis://h1:1,h2:2/0"),
        *("redis://a..b", "redis://h\n", "redis://h:٨", "redis://h#0", "redis://h/0/0"),
        *("unix://", "unix://run/redis.sock", "unix:///s?db=x", "unix:///s?db=-1"),
        *("redis+sentinel://h1:1", "redis+sentinel://h1/main", "redis+sentinel://"),
        *("redis+sentinel://h1:0/main", "redis+sentinel://h1:1/main/zero"),
        *("redis+sentinel://,h2:1/main", "redis+sentinel://h:1/a/0/c"),
        *("redis+cluster://h1", "redis+cluster://", "redis+cluster://h1:7000/main"),
        *(
            "redis+cluster://h1:99999",
            "redis+cluster://h1:7000/1",
            "unix+cluster://h:1",
        ),
        *("redis+cluster://h1:1;h2:2", "redis+sentinels://h1:1/main"),
        # Options that we cannot live with, or that nobody knows.
        *("redis://h?decode_responses=1", "redis://h?protocol=3", "redis://h?db=1"),
        *("redis://h?max_connections=2", "redis://h?socket_timeout=60", "redis://h?no"),
        *("redis://h?retry_on_timeout=1", "redis://h?health_check_interval=5"),
        *("redis://h?ssl_cert_reqs=none", "rediss://h?ssl_cert_reqs=perhaps"),
        "rediss://h?ssl_exclude_verify_flags=ALL",
        *("unix:///s?path=/t", "redis+cluster://h:1?db=1"),
        # A password that should have been percent-encoded, or stands where none does.
        *("redis://:s3cret@h:x/0", "redis://:a/s3cret@h/0", "redis://:a?s3cret=@h"),
        *("redis://:a[s3cret@h/0", "redis://:a#s3cret@h/0", "redis://:a@s3cret@h/0"),
        *("redis://h?s3cret", "redis://h?sentinel_password=s3cret"),
        *("redis+cluster://h:1?sentinel_password=s3cret", "redis://h?s3cret=1"),
    ],
)
def test_a_wrong_url_is_one_line_that_repeats_nothing_of_it(text):
    with pytest.raises(ConfigError) as caught:
        RedisUrl.parse(text)
    line = str(caught.value)
    assert line.startswith("REDIS_URL ")
    assert "\n" not in line
    assert "s3cret" not in line


def test_its_passwords_are_not_in_what_a_log_would_show_of_it():
    text = "redis+sentinel://:s3cret@h:1/main?sentinel_password=s3cret"
    assert "s3cret" not in repr(RedisUrl.parse(text))
