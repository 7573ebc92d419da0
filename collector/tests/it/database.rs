//! `truechimer db`: backup, restore, status, vacuum, upgrade, and what is refused.

use std::path::{Path, PathBuf};
use std::process::Output;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::{Agent, World, report, skip, truechimer};

async fn run(data_dir: &Path, words: &[&str]) -> (bool, String, String) {
    let Output { status, stdout, stderr } = truechimer(data_dir, words).output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.success(), text(stdout), text(stderr))
}

/// A collector with three samples of one host, stopped; their digest.
async fn lived() -> (World, String) {
    let mut world = World::start().await;
    let agent = Agent::enrol(&world, "a").await;
    let mut session = agent.session().await;
    session.send(vec![report(1), report(2), report(3)]).await;
    session.ack().await;
    drop(session);
    let digest = world.text(DIGEST).await;
    world.stop().await;
    (world, digest)
}

const DIGEST: &str = "SELECT count(*) || ' ' || md5(string_agg(m::text, ';' ORDER BY m.seq)) ||
    (SELECT md5(string_agg(h::text, ';')) FROM store.host h) FROM store.sample m";

/// Proves that a backup made while the collector runs holds what was acknowledged, is readable by its
/// owner alone, is never written over, and that a restored data directory serves the same rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_restored_to_the_same_rows() {
    let (mut world, digest) = lived().await;
    world.restart_with("").await;
    let file = world.dir.path().join("fleet.dump");
    let name = file.to_str().unwrap();
    let (done, _, err) = run(world.dir.path(), &["db", "backup", name]).await;
    assert!(done && err.contains("db restore"), "{err}");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap());
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    let size = std::fs::metadata(&file).unwrap().len();
    let (again, _, err) = run(world.dir.path(), &["db", "backup", name]).await;
    assert!(!again && err.contains("never overwrites"), "{err}");
    assert_eq!(std::fs::metadata(&file).unwrap().len(), size);
    let checked = std::process::Command::new("sha256sum")
        .args(["--check", "--strict", "fleet.dump.sha256"])
        .current_dir(world.dir.path())
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let (_, status, _) = run(world.dir.path(), &["db", "status", "--json"]).await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["last_backup"]["file"], name);
    world.stop().await;

    let (refused, _, err) = run(world.dir.path(), &["db", "restore", name]).await;
    assert!(!refused && err.contains("never writes over data"), "{err}");

    let mut copy = World::nowhere();
    let (done, _, err) = run(copy.dir.path(), &["db", "restore", name]).await;
    assert!(done && err.contains("1 hosts") && !err.contains("warning"), "{err}");
    copy.restart_with("").await;
    assert_eq!(copy.text(DIGEST).await, digest);
    let (done, _, err) = run(copy.dir.path(), &["sql-user", "add", "ada"]).await;
    assert!(done, "{err}");
    let shut = "SELECT has_database_privilege('fleet_reader', current_database(), 'TEMP')::text";
    assert_eq!(copy.text(shut).await, "false");
    copy.stop().await;
}

const COMMENT: &str = "SELECT obj_description('fleet.host_now'::regclass)";

/// Proves that damage anywhere in a backup is found by its checksum before so much as a cluster is made: in the table of
/// contents where it would pass for a backup, in the data, at the end, and where the whole file is that of another
/// day; that a checksum which is damaged itself is refused, too; and that a backup of an earlier release, which has
/// none, is restored with a warning, damage that passes for a backup and all.
#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_by_the_checksum() {
    let (mut world, _) = lived().await;
    world.restart_with("").await;
    let comment = world.text(COMMENT).await;
    let folder = world.dir.path().to_owned();
    let [whole, other] = ["whole.dump", "other.dump"].map(|name| folder.join(name));
    for file in [&whole, &other] {
        let (done, _, err) = run(&folder, &["db", "backup", file.to_str().unwrap()]).await;
        assert!(done, "{err}");
        sqlx::query("UPDATE store.host SET service = 'since'")
            .execute(&world.sql().await)
            .await
            .unwrap();
    }
    world.stop().await;
    let bytes = std::fs::read(&whole).unwrap();
    let sum = std::fs::read_to_string(folder.join("whole.dump.sha256")).unwrap();
    let flipped = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        bytes
    };
    let place = bytes.windows(comment.len()).position(|text| text == comment.as_bytes()).unwrap();
    let contents = flipped(place);
    let bad = folder.join("bad.dump");
    let beside = folder.join("bad.dump.sha256");
    let copy = World::nowhere();
    for (what, content) in [
        ("contents", &contents[..]),
        ("data", &flipped(bytes.len() * 9 / 10)),
        ("last", &flipped(bytes.len() - 1)),
        ("cut", &bytes[..bytes.len() - 1]),
        ("longer", &[&bytes[..], b"\n"].concat()),
        ("of another day", &std::fs::read(&other).unwrap()),
    ] {
        std::fs::write(&bad, content).unwrap();
        std::fs::write(&beside, &sum).unwrap();
        let (done, _, err) = run(copy.dir.path(), &["db", "restore", bad.to_str().unwrap()]).await;
        assert!(
            !done && err.contains("is damaged") && err.contains("Nothing was written"),
            "{what}: {err}"
        );
        assert!(!copy.dir.path().join("postgres").exists(), "{what}");
    }
    std::fs::write(&bad, &bytes).unwrap();
    std::fs::write(&beside, &sum[..40]).unwrap();
    let (done, _, err) = run(copy.dir.path(), &["db", "restore", bad.to_str().unwrap()]).await;
    assert!(!done && err.contains("is no checksum"), "{err}");

    std::fs::write(&bad, &contents).unwrap();
    std::fs::remove_file(&beside).unwrap();
    let mut copy = World::nowhere();
    let (done, _, err) = run(copy.dir.path(), &["db", "restore", bad.to_str().unwrap()]).await;
    assert!(
        done && err.contains("warning: there is no checksum") && err.contains("restored"),
        "{err}"
    );
    copy.restart_with("").await;
    assert_ne!(copy.text(COMMENT).await, comment, "nothing else can find this damage");
    copy.stop().await;
}

/// Proves that a file without a checksum which is cut, damaged, of another database or not there is refused, and
/// that the empty database is as empty as before: the same command then succeeds with the whole file.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_whole_backup_is_refused() {
    let (world, digest) = lived().await;
    let folder = world.dir.path();
    let whole = folder.join("whole.dump");
    let (done, _, err) = run(folder, &["db", "backup", whole.to_str().unwrap()]).await;
    assert!(done, "{err}");
    let bytes = std::fs::read(&whole).unwrap();
    let bad = folder.join("bad.dump");
    let mut copy = World::nowhere();
    // A damaged table of contents may only show when it is carried out; it is undone then.
    let mut damaged = bytes.clone();
    let at = damaged.len() * 9 / 10;
    damaged[at..at + 8].fill(0xa5);
    for (what, content) in [
        ("cut", &bytes[..bytes.len() * 2 / 3]),
        ("its head alone", &bytes[..64]),
        ("damaged", &damaged[..]),
        ("text", b"CREATE TABLE x ();\n"),
        ("empty", b""),
    ] {
        std::fs::write(&bad, content).unwrap();
        let (done, _, err) = run(copy.dir.path(), &["db", "restore", bad.to_str().unwrap()]).await;
        let refused = err.contains("not a whole backup");
        assert!(!done && (refused || what == "damaged"), "{what}: {err}");
    }
    let missing = folder.join("none").to_str().unwrap().to_owned();
    let (done, _, err) = run(copy.dir.path(), &["db", "restore", &missing]).await;
    assert!(!done && err.contains("cannot read the backup"), "{err}");
    let (done, _, err) = run(copy.dir.path(), &["db", "restore", whole.to_str().unwrap()]).await;
    assert!(done, "{err}");
    copy.restart_with("").await;
    assert_eq!(copy.text(DIGEST).await, digest);
    copy.stop().await;
}

/// Proves that a backup which cannot be completed leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_backup_leaves_nothing() {
    let mut world = World::start().await;
    // A table that pg_dump cannot read: the row says it is there, its file is gone.
    let pool = world.sql().await;
    for statement in
        ["CREATE TABLE store.torn (x int8)", "INSERT INTO store.torn VALUES (1)", "CHECKPOINT"]
    {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    let path: String = sqlx::query_scalar("SELECT pg_relation_filepath('store.torn')")
        .fetch_one(&pool)
        .await
        .unwrap();
    pool.close().await;
    world.stop().await;
    std::fs::remove_file(world.dir.path().join("postgres/data").join(path)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("fleet.dump");
    let (done, _, err) = run(world.dir.path(), &["db", "backup", target.to_str().unwrap()]).await;
    assert!(!done && err.contains("pg_dump failed"), "{err}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Proves the move to a server of one's own as documented: backup, restore by URL into a database just
/// created, serve from there with the same rows.
#[tokio::test(flavor = "multi_thread")]
async fn moved_to_an_external_server() {
    let (world, digest) = lived().await;
    let file = world.dir.path().join("fleet.dump");
    let (done, _, err) = run(world.dir.path(), &["db", "backup", file.to_str().unwrap()]).await;
    assert!(done, "{err}");

    let url = std::env::var("DATABASE_URL").expect("DATABASE_URL names a Postgres to test on");
    let options: PgConnectOptions = url.parse().unwrap();
    let name = format!("moved_{}", uuid::Uuid::new_v4().simple());
    let mut server = PgConnection::connect_with(&options).await.unwrap();
    let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&mut server).await.unwrap();
    let url = url.replacen("/postgres?", &format!("/{name}?"), 1);
    let mut moved = World::nowhere();
    let words = ["db", "restore", file.to_str().unwrap(), "--database-url", &url];
    let (done, _, err) = run(moved.dir.path(), &words).await;
    assert!(done && err.contains("1 hosts"), "{err}");
    moved.restart_with(&format!("[database]\nurl = \"{url}\"\n")).await;
    let mut there = PgConnection::connect_with(&options.database(&name)).await.unwrap();
    let rows: String = sqlx::query_scalar(DIGEST).fetch_one(&mut there).await.unwrap();
    assert_eq!(rows, digest);
    there.close().await.unwrap();
    let again = ["db", "backup", moved.dir.path().to_str().unwrap(), "--database-url", &url];
    let (done, _, err) = run(moved.dir.path(), &again).await;
    assert!(done && err.contains("truechimer-"), "{err}");
    moved.stop().await;
    assert!(!moved.dir.path().join("postgres").exists(), "no cluster of its own beside it");
    let drop = AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"));
    sqlx::query(drop).execute(&mut server).await.unwrap();
}

/// Proves that status counts every table of the platform, as text and for programs, and that vacuum
/// takes every one of them while the collector runs.
#[tokio::test(flavor = "multi_thread")]
async fn status_and_vacuum_see_every_table() {
    let mut world = World::start().await;
    let (done, json, err) = run(world.dir.path(), &["db", "status", "--json"]).await;
    assert!(done, "{err}");
    let status: serde_json::Value = serde_json::from_str(&json).unwrap();
    let named = |name: &str| {
        let tables = status["tables"].as_array().unwrap().iter();
        tables.clone().find(|table| table["name"] == name).cloned().unwrap_or_default()
    };
    assert!(named("store.sample")["partitions"].as_i64().unwrap() >= 11, "{json}");
    assert!(named("store.host")["bytes"].as_i64().unwrap() > 0, "{json}");
    let tables = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE nspname IN ('store', 'fleet') AND relkind IN ('r', 'p') AND NOT relispartition";
    let expected = world.number(tables).await;
    assert_eq!(status["tables"].as_array().unwrap().len() as i64, expected);
    assert!(status["disk_free_bytes"].as_u64().unwrap() > 0, "{json}");
    assert_eq!(status["schema_version"], status["schema_known"]);
    assert!(status["last_backup"].is_null());
    let (_, text, _) = run(world.dir.path(), &["db", "status"]).await;
    assert!(text.contains("NONE was ever made") && text.contains("store.host_state"), "{text}");

    let (done, _, err) = run(world.dir.path(), &["db", "vacuum"]).await;
    assert!(done && err.contains("given back"), "{err}");
    // The parent of partitions has nothing of its own to vacuum.
    let left = "SELECT string_agg(s.relname, ' ') FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
                WHERE schemaname = 'store' AND (last_vacuum IS NULL AND relkind = 'r' OR last_analyze IS NULL)";
    let left: Option<String> =
        sqlx::query_scalar(left).fetch_one(&world.sql().await).await.unwrap();
    assert_eq!(left, None);
    world.stop().await;
}

/// Proves that a database with a schema which this program does not know is refused in words, by the
/// server and as a backup, and stays as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_refused() {
    let mut world = World::start().await;
    let newer =
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'later', true, '', 0)";
    sqlx::query(newer).execute(&world.sql().await).await.unwrap();
    let file = world.dir.path().join("newer.dump");
    let (done, _, err) = run(world.dir.path(), &["db", "backup", file.to_str().unwrap()]).await;
    assert!(done, "{err}");
    world.stop().await;
    let listens = ["--grpc-listen", "--web-listen", "--observe-listen"];
    let mut words = vec!["serve"];
    listens.iter().for_each(|listen| words.extend([listen, "127.0.0.1:0"]));
    let (done, _, err) = run(world.dir.path(), &words).await;
    assert!(!done && err.contains("newer truechimer") && err.contains("9999"), "{err}");
    let copy = World::nowhere();
    let (done, _, err) = run(copy.dir.path(), &["db", "restore", file.to_str().unwrap()]).await;
    assert!(
        !done && err.contains("newer truechimer") && err.contains("Nothing was written"),
        "{err}"
    );
}

/// The binaries of a newer major version than those that the tests use, if this machine has them.
fn newer_binaries(test: &str) -> Option<PathBuf> {
    let found =
        std::env::var_os("TRUECHIMER_TEST_NEWER_PG_BIN").filter(|folder| !folder.is_empty());
    let found = found.map(PathBuf::from);
    if found.is_none() {
        skip(test, "TRUECHIMER_TEST_NEWER_PG_BIN names no folder with a newer Postgres");
    }
    found
}

/// Proves that a cluster of an older major version is refused with the commands to give, that the
/// upgrade they name keeps every row and the SQL users, and keeps the old cluster aside.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_cluster_is_upgraded() {
    let Some(newer) = newer_binaries("an_older_cluster_is_upgraded") else { return };
    let newer = newer.to_str().unwrap();
    let (mut world, digest) = lived().await;
    let (done, _, err) = run(world.dir.path(), &["sql-user", "add", "ada"]).await;
    assert!(done, "{err}");
    let toml = format!("[database]\npostgres-bin = \"{newer}\"\n");
    let file = world.dir.path().join("collector.toml");
    std::fs::write(&file, &toml).unwrap();
    let newer_only = ["db", "status", "--config", file.to_str().unwrap()];
    let (done, _, err) = run(world.dir.path(), &newer_only).await;
    assert!(!done && err.contains("truechimer db upgrade") && err.contains("apt install"), "{err}");

    let (done, _, err) = run(world.dir.path(), &["db", "upgrade", "--to", newer]).await;
    assert!(done && err.contains("is kept in"), "{err}");
    world.restart_with(&toml).await;
    assert_eq!(world.text(DIGEST).await, digest);
    let ada = "SELECT count(*) FROM pg_authid WHERE rolname = 'ada' AND rolpassword LIKE 'SCRAM%'";
    assert_eq!(world.number(ada).await, 1);
    world.stop().await;
    let old = std::fs::read_dir(world.dir.path().join("postgres")).unwrap();
    let old = old.filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().ends_with(".old"));
    assert_eq!(old.count(), 1);
    let (done, _, err) = run(world.dir.path(), &["db", "upgrade", "--to", newer]).await;
    assert!(!done && err.contains("install a newer"), "{err}");
}

/// Proves that an upgrade killed between its renames is brought to its end, and that one killed before
/// them leaves the old cluster in its place.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_upgrade_is_finished() {
    let (mut world, digest) = lived().await;
    let postgres = world.dir.path().join("postgres");
    // Killed before the old one went aside: what was copied does not count.
    std::fs::create_dir(postgres.join("data.upgraded")).unwrap();
    world.restart_with("").await;
    assert_eq!(world.text(DIGEST).await, digest);
    world.stop().await;
    assert!(!postgres.join("data.upgraded").exists());
    // Killed after it.
    std::fs::rename(postgres.join("data"), postgres.join("data.upgraded")).unwrap();
    world.restart_with("").await;
    assert_eq!(world.text(DIGEST).await, digest);
    world.stop().await;
}

/// Proves that without pg_upgrade the cluster goes by dump and restore, with every row, the SQL users and
/// the rights of the reader.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_without_pg_upgrade() {
    let Some(newer) = newer_binaries("an_upgrade_without_pg_upgrade") else { return };
    let (mut world, digest) = lived().await;
    let (done, _, err) = run(world.dir.path(), &["sql-user", "add", "ada"]).await;
    assert!(done, "{err}");
    // The same installation, less one program.
    let copy = tempfile::tempdir().unwrap();
    let installed = newer.canonicalize().unwrap();
    let (package, root) = (installed.ancestors().nth(3).unwrap(), copy.path());
    let mut cp = tokio::process::Command::new("cp");
    let copied = cp.arg("-a").arg(package).arg(root.join("package")).status().await.unwrap();
    assert!(copied.success());
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(root, open).unwrap();
    let less = root.join("package").join(installed.strip_prefix(package).unwrap());
    std::fs::remove_file(less.join("pg_upgrade")).unwrap();
    let less = less.to_str().unwrap();

    let (done, _, err) = run(world.dir.path(), &["db", "upgrade", "--to", less]).await;
    assert!(done && err.contains("by dump and restore"), "{err}");
    world.restart_with(&format!("[database]\npostgres-bin = \"{less}\"\n")).await;
    assert_eq!(world.text(DIGEST).await, digest);
    let rights = "SELECT concat_ws(' ', has_table_privilege('ada', 'fleet.host_now', 'SELECT'),
                                   has_database_privilege('ada', current_database(), 'TEMP'),
                                   (SELECT rolconnlimit FROM pg_roles WHERE rolname = 'ada'))";
    assert_eq!(world.text(rights).await, "t f 4");
    world.stop().await;
    for left in ["upgrade.roles", "upgrade.dump", "data.new"] {
        assert!(!world.dir.path().join("postgres").join(left).exists(), "{left}");
    }
}
