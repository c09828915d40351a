//! What tokens must do wherever they are kept: each storage runs the same suite.

use std::time::Duration;

use avl_shared::enrolment::{EnrolmentToken, Fingerprint, SECRET_BYTES};
use avl_shared::identity::VehicleKey;
use tokio::task::JoinSet;

use super::{TokenError, Tokens};

/// Makes one test of each behaviour for tokens that `$fresh` makes: `fn() -> Option<(guard, Tokens)>`.
macro_rules! suite {
    ($fresh:path) => {
        crate::fleet::tokens::conformance::suite!(@each $fresh:
            a_token_admits_its_vehicle_once, a_look_leaves_the_token_good, an_expired_or_invented_token_admits_nobody,
            void_tokens_admit_nobody_and_other_vehicles_keep_theirs, of_many_at_one_time_one_succeeds);
    };
    (@each $fresh:path: $($test:ident),* $(,)?) => {
        $(#[tokio::test]
        async fn $test() {
            let Some((_guard, tokens)) = $fresh() else { return };
            crate::fleet::tokens::conformance::$test(&tokens).await;
        })*
    };
}
pub(crate) use suite;

const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const CA: Fingerprint = Fingerprint([1; 32]);

pub(crate) fn van() -> VehicleKey {
    "demo/van-1".parse().unwrap()
}

pub(crate) async fn a_token_admits_its_vehicle_once(tokens: &Tokens) {
    let token = tokens.create(&van(), CA, 1_000, HOUR).await.unwrap();
    assert_eq!(tokens.redeem(&token, 2_000).await.unwrap(), van());
    assert!(matches!(tokens.redeem(&token, 3_000).await, Err(TokenError::Used)));
    assert!(matches!(tokens.look_up(&token, 3_000).await, Err(TokenError::Used)));
}

pub(crate) async fn a_look_leaves_the_token_good(tokens: &Tokens) {
    let token = tokens.create(&van(), CA, 1_000, HOUR).await.unwrap();
    assert_eq!(tokens.look_up(&token, 2_000).await.unwrap(), van());
    assert_eq!(tokens.redeem(&token, 3_000).await.unwrap(), van());
}

pub(crate) async fn an_expired_or_invented_token_admits_nobody(tokens: &Tokens) {
    let token = tokens.create(&van(), CA, 1_000, HOUR).await.unwrap();
    assert!(matches!(tokens.redeem(&token, 1_000 + 3_600_000).await, Err(TokenError::Expired)));
    let invented = EnrolmentToken { secret: [9; SECRET_BYTES], ca: CA };
    assert!(matches!(tokens.redeem(&invented, 2_000).await, Err(TokenError::Unknown)));
    assert!(matches!(tokens.create(&van(), CA, 0, Duration::MAX).await, Err(TokenError::TooLong(_))));
}

pub(crate) async fn void_tokens_admit_nobody_and_other_vehicles_keep_theirs(tokens: &Tokens) {
    let token = tokens.create(&van(), CA, 1_000, HOUR).await.unwrap();
    let other: VehicleKey = "demo/van-2".parse().unwrap();
    let others = tokens.create(&other, CA, 1_000, HOUR).await.unwrap();
    assert_eq!(tokens.void(&van(), 2_000).await.unwrap(), 1);
    assert_eq!(tokens.void(&van(), 2_000).await.unwrap(), 0);
    assert!(matches!(tokens.redeem(&token, 2_000).await, Err(TokenError::Expired)));
    assert_eq!(tokens.redeem(&others, 2_000).await.unwrap(), other);
}

pub(crate) async fn of_many_at_one_time_one_succeeds(tokens: &Tokens) {
    let token = tokens.create(&van(), CA, 1_000, HOUR).await.unwrap();
    let mut racing = JoinSet::new();
    for _ in 0..16 {
        let (tokens, token) = (tokens.clone(), token.clone());
        racing.spawn(async move { tokens.redeem(&token, 2_000).await });
    }
    let outcomes = racing.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert!(
        outcomes
            .iter()
            .flat_map(|outcome| outcome.as_ref().err())
            .all(|error| matches!(error, TokenError::Used))
    );
}
