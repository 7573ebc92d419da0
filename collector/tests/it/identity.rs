use collector::{clock, secret};
use timebase::Span;
use tonic::Code;
use uuid::Uuid;

use crate::support::{Agent, World, hello_message, report};

/// Proves that a host joins by a valid token only: not by an unknown, expired, used-up or revoked one.
#[tokio::test(flavor = "multi_thread")]
async fn only_valid_tokens_enrol() {
    let mut world = World::start().await;
    let store = world.app().store().clone();
    let code = async |token: &str| {
        let enrolled = Agent::enrol_as(&world, "a", Uuid::new_v4(), token).await;
        enrolled.err().map(|status| status.code())
    };
    assert_eq!(code("tcj_made-up").await, Some(Code::Unauthenticated));
    let past = Some(clock::now() - Span::SECOND);
    store.add_token(&secret::hash("expired"), "", past, None).await.unwrap();
    assert_eq!(code("expired").await, Some(Code::Unauthenticated));
    store.add_token(&secret::hash("once"), "", None, Some(1)).await.unwrap();
    assert_eq!(code("once").await, None);
    assert_eq!(code("once").await, Some(Code::Unauthenticated));
    store.add_token(&secret::hash("revoked"), "", None, None).await.unwrap();
    assert!(store.revoke_token(None, &secret::hash("revoked"), clock::now()).await.unwrap());
    assert_eq!(code("revoked").await, Some(Code::Unauthenticated));
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
    store.add_token(&secret::hash("once"), "", None, Some(1)).await.unwrap();
    let taken = Agent::enrol_as(&world, "thief", agent.host, "once").await;
    assert_eq!(taken.err().map(|status| status.code()), Some(Code::AlreadyExists));
    agent.session().await;
    assert!(Agent::enrol_as(&world, "other", Uuid::new_v4(), "once").await.is_ok());
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
