use std::process::{Output, Stdio};

use tokio::process::Command;

use crate::support::World;

async fn output(mut command: Command) -> (Output, String, String) {
    let output = command.output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output, out, err)
}

/// Proves that administration works beside a running collector and without one, on the same data.
#[tokio::test(flavor = "multi_thread")]
async fn beside_a_server_and_without() {
    let mut world = World::start().await;
    let create = ["token", "create", "--label", "rack 7", "--uses", "3", "--expires", "24 h"];
    let (done, token, err) = output(world.command(&create)).await;
    assert!(done.status.success(), "{err}");
    assert!(token.starts_with("tcj_") && token.lines().count() == 1, "{token:?}");
    world.stop().await;

    let (_, listed, err) = output(world.command(&["token", "list"])).await;
    assert!(listed.contains("rack 7") && listed.contains(" 3 "), "{listed}{err}");
    let (done, _, err) = output(world.command(&["token", "revoke", token.trim()])).await;
    assert!(done.status.success(), "{err}");
    let (_, listed, _) = output(world.command(&["host", "list"])).await;
    assert!(listed.starts_with("NAME"), "{listed}");
    let (done, _, err) = output(world.command(&["host", "revoke", "nobody"])).await;
    assert!(!done.status.success() && err.contains("no host \"nobody\""), "{err}");
}

/// Proves that a reader who has seen enough (`| head`) ends a command without complaint.
#[tokio::test(flavor = "multi_thread")]
async fn read_in_part() {
    let world = World::start().await;
    let mut command = world.command(&["db", "status"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Proves that a person is added with a random password shown once or one from a file, is not added
/// twice, and that the password is kept as argon2id only.
#[tokio::test(flavor = "multi_thread")]
async fn people() {
    let mut world = World::start().await;
    let (_, password, err) = output(world.command(&["user", "add", "ada"])).await;
    assert!(password.trim().len() >= 20, "{password:?} {err}");
    let (again, _, err) = output(world.command(&["user", "add", "ada"])).await;
    assert!(!again.status.success() && err.contains("ada"), "{err}");
    let file = world.dir.path().join("password");
    std::fs::write(&file, "short\n").unwrap();
    let words = ["user", "passwd", "ada", "--password-file", file.to_str().unwrap()];
    let (refused, _, err) = output(world.command(&words)).await;
    assert!(!refused.status.success() && err.contains("at least 10"), "{err}");
    std::fs::write(&file, "long enough to keep\n").unwrap();
    let (done, out, err) = output(world.command(&words)).await;
    assert!(done.status.success() && out.is_empty(), "{out}{err}");
    let kept: String = sqlx::query_scalar("SELECT password_hash FROM store.user_account")
        .fetch_one(&world.sql().await)
        .await
        .unwrap();
    assert!(kept.starts_with("$argon2id$") && !kept.contains("long enough"), "{kept}");
    let (_, listed, _) = output(world.command(&["user", "list"])).await;
    assert!(listed.contains("ada"), "{listed}");
    world.stop().await;
}

/// Proves that `db url --reader` opens the database to a role that reads schema fleet and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn reader_reads_fleet_and_nothing_else() {
    let mut world = World::start().await;
    let (done, url, err) = output(world.command(&["db", "url", "--reader"])).await;
    assert!(done.status.success() && url.contains("fleet_reader"), "{url}{err}");
    let embedded = world.app().database().embedded.as_ref().unwrap();
    let reader = embedded.connect_options().username("fleet_reader");
    let pool = sqlx::PgPool::connect_with(reader).await.unwrap();
    let hosts: i64 =
        sqlx::query_scalar("SELECT count(*) FROM host_now").fetch_one(&pool).await.unwrap();
    assert_eq!(hosts, 0);
    for forbidden in
        ["SELECT 1 FROM store.host", "CREATE TABLE fleet.x ()", "CREATE TEMP TABLE x ()"]
    {
        assert!(sqlx::query(forbidden).execute(&pool).await.is_err(), "{forbidden}");
    }
    pool.close().await;
    world.stop().await;
}

/// Proves that a broken configuration file stops the program with the file, the line and the key.
#[tokio::test(flavor = "multi_thread")]
async fn broken_configuration_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("collector.toml");
    let path = file.to_str().unwrap().to_owned();
    for (text, words) in [
        ("[ingest]\nlingr = \"1 s\"\n", vec!["line 2", "lingr"]),
        ("[ingest]\nlinger = 1\n", vec!["line 2", "linger"]),
        ("[grpc]\nlisten = \"0.0.0.0:4461\"\n", vec!["listen", "allow-plain"]),
        ("[web]\nlisten = \"0.0.0.0:4460\"\n", vec!["listen", "secure-cookies", "allow-plain"]),
        ("[ingest]\nmax-message-bytes = 65536\n", vec!["max-message-bytes", "1048576"]),
        ("[retention]\nsamples = \"1 d\"\n", vec!["retention", "8 d"]),
        ("[retention]\nevents = \"8 d\"\n", vec!["retention", "events", "as long as samples"]),
        ("[retention]\nalerts = \"1 d\"\n", vec!["retention", "2 d"]),
        ("[database]\nurl = \"mysql://x\"\n", vec!["url"]),
        ("][", vec!["line 1"]),
    ] {
        std::fs::write(&file, text).unwrap();
        for command in ["check-config", "serve"] {
            let words_given = [command, "--config", &path];
            let (done, _, err) = output(crate::support::truechimer(dir.path(), &words_given)).await;
            assert!(!done.status.success(), "{text}");
            assert!(words.iter().all(|word| err.contains(word)), "{text:?}: {err}");
        }
    }
    assert!(!dir.path().join("postgres").exists(), "a broken file starts nothing");
}

/// Proves that the settings in effect are printed as a file that means the same.
#[tokio::test(flavor = "multi_thread")]
async fn effective_settings_are_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let words = ["check-config", "--web-listen", "127.0.0.1:9999"];
    let (_, first, err) = output(crate::support::truechimer(dir.path(), &words)).await;
    assert!(first.contains("127.0.0.1:9999"), "{first}{err}");
    let file = dir.path().join("effective.toml");
    std::fs::write(&file, &first).unwrap();
    let words = ["check-config", "--config", file.to_str().unwrap()];
    let (_, second, _) = output(crate::support::truechimer(dir.path(), &words)).await;
    assert_eq!(first, second);
}

/// Proves that a command that only looks refuses a folder without a database, says what to do, and leaves nothing there.
#[tokio::test(flavor = "multi_thread")]
async fn a_mistyped_folder_stays_empty() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("mistyped");
    let output = crate::support::truechimer(&folder, &["db", "status"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("--data-dir"), "{said}");
    assert!(!folder.exists());
}
