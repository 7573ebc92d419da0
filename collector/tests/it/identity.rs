use collector::{clock, secret};
use timebase::Span;
use tonic::Code;
use uuid::Uuid;

use crate::support::{Agent, World, eventually, hello_message, report};

fn join_token() -> String {
    secret::generate(secret::Kind::JoinToken).unwrap()
}

/// Proves that a host joins by a valid token only: not by an unknown, expired, used-up or revoked one.
#[tokio::test(flavor = "multi_thread")]
async fn only_valid_tokens_enrol() {
    let mut world = World::start().await;
    let store = world.app().store().clone();
    let code = async |token: &str| {
        let enrolled = Agent::enrol_as(&world, "a", Uuid::new_v4(), token).await;
        enrolled.err().map(|status| status.code())
    };
    for unknown in ["", "tcj_made-up", &join_token()] {
        assert_eq!(code(unknown).await, Some(Code::Unauthenticated));
    }
    let (expired, once, revoked) = (join_token(), join_token(), join_token());
    let past = Some(clock::now() - Span::SECOND);
    store.add_token(&secret::hash(&expired), "", past, None).await.unwrap();
    assert_eq!(code(&expired).await, Some(Code::Unauthenticated));
    store.add_token(&secret::hash(&once), "", None, Some(1)).await.unwrap();
    assert_eq!(code(&once).await, None);
    assert_eq!(code(&once).await, Some(Code::Unauthenticated));
    store.add_token(&secret::hash(&revoked), "", None, None).await.unwrap();
    assert!(store.revoke_token(None, &secret::hash(&revoked), clock::now()).await.unwrap());
    assert_eq!(code(&revoked).await, Some(Code::Unauthenticated));
    world.stop().await;
}

/// Proves that a join token, which many may know, does not take over a host, and that the refused try
/// costs the token no use.
#[tokio::test(flavor = "multi_thread")]
async fn token_does_not_take_over_a_host() {
    let mut world = World::start().await;
    let agent = Agent::enrol(&world, "victim").await;
    agent.session().await;
    let store = world.app().store().clone();
    let once = join_token();
    store.add_token(&secret::hash(&once), "", None, Some(1)).await.unwrap();
    let taken = Agent::enrol_as(&world, "thief", agent.host, &once).await;
    assert_eq!(taken.err().map(|status| status.code()), Some(Code::AlreadyExists));
    agent.session().await;
    assert!(Agent::enrol_as(&world, "other", Uuid::new_v4(), &once).await.is_ok());
    world.stop().await;
}

/// Proves that a host whose enrolment's answer was lost may enrol again, that only the newest answer
/// counts, and that the first session closes that door.
#[tokio::test(flavor = "multi_thread")]
async fn lost_answer_is_given_again() {
    let mut world = World::start().await;
    let token = world.join_token().await;
    let lost = Agent::enrol(&world, "a").await;
    let kept = Agent::enrol_as(&world, "a", lost.host, &token).await.unwrap();
    let refused = lost.session_saying(hello_message(lost.hello())).await;
    assert_eq!(refused.err().map(|status| status.code()), Some(Code::Unauthenticated));
    kept.session().await;
    let late = Agent::enrol_as(&world, "a", lost.host, &token).await;
    assert_eq!(late.err().map(|status| status.code()), Some(Code::AlreadyExists));
    kept.session().await;
    assert_eq!(world.number("SELECT count(*) FROM store.host").await, 1);
    world.stop().await;
}

/// Proves that a revoked credential ends the open session within seconds and opens no other, and that
/// the host may then enrol anew under a new credential.
#[tokio::test(flavor = "multi_thread")]
async fn revocation_cuts_off() {
    let mut world = World::start().await;
    let (agent, other) = (Agent::enrol(&world, "a").await, Agent::enrol(&world, "b").await);
    let (mut session, mut unharmed) = (agent.session().await, other.session().await);
    let revoked_at = std::time::Instant::now();
    assert_eq!(world.app().store().revoke_host("a", clock::now()).await.unwrap(), 1);
    assert_eq!(session.end().await.unwrap_err().code(), Code::Unauthenticated);
    assert!(revoked_at.elapsed().as_secs() < 10, "took {:?}", revoked_at.elapsed());
    let again = agent.session_saying(hello_message(agent.hello())).await;
    assert_eq!(again.err().map(|status| status.code()), Some(Code::Unauthenticated));
    unharmed.send(vec![report(1)]).await;
    unharmed.ack().await;

    let token = world.join_token().await;
    let renewed = Agent::enrol_as(&world, "a", agent.host, &token).await.unwrap();
    assert_ne!(renewed.credential, agent.credential);
    renewed.session().await;
    let old = agent.session_saying(hello_message(agent.hello())).await;
    assert_eq!(old.err().map(|status| status.code()), Some(Code::Unauthenticated));
    world.stop().await;
}

/// Proves that callers who are not known leave the database to those who are: invented credentials wait
/// for few connections, and texts that are no credential for none.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_do_not_fill_the_pool() {
    let mut world = World::start_with("[database]\nconnections = 8\n").await;
    let agent = Agent::enrol(&world, "a").await;
    let mut locked = world.sql().await.begin().await.unwrap();
    sqlx::query("LOCK TABLE store.host IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *locked)
        .await
        .unwrap();
    let calls = (0..16).map(|_| {
        let mut stranger = agent.clone();
        stranger.credential = secret::generate(secret::Kind::HostCredential).unwrap();
        tokio::spawn(async move { stranger.session_saying(hello_message(stranger.hello())).await })
    });
    let calls: Vec<_> = calls.collect();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    eventually("some wait", async || (world.number(waiting).await == 4).then_some(())).await;
    let mut formless = agent.clone();
    formless.credential = "tch_short".into();
    let refused = formless.session_saying(hello_message(formless.hello())).await;
    assert_eq!(refused.err().map(|status| status.code()), Some(Code::Unauthenticated));
    world.app().store().ping().await.unwrap();
    world.app().database().ingest.ping().await.unwrap();
    assert_eq!(world.number(waiting).await, 4);
    locked.rollback().await.unwrap();
    for call in calls {
        let code = call.await.unwrap().err().map(|status| status.code());
        assert!(matches!(code, Some(Code::Unauthenticated | Code::Unavailable)), "{code:?}");
    }
    agent.session().await;
    world.stop().await;
}
