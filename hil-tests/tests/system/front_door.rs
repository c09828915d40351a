//! What a stranger meets at the cloud's doors: no token, no certificate, no luck.

use hil_tests::drive::Drive;
use hil_tests::fleet::enrol;
use hil_tests::process::{Cloud, Ports, Scene};
use reqwest::StatusCode;

use crate::stage::{PATIENCE, play};

async fn cloud(name: &str) -> anyhow::Result<(Scene, Cloud)> {
    let scene = Scene::named(name)?;
    let cloud = Cloud::start(&scene.folder("cloud")?, &scene.log("avl-cloud.log"), Ports::default()).await?;
    Ok((scene, cloud))
}

#[test]
fn an_enrolment_token_admits_one_vehicle_once_and_pins_the_cloud() {
    play(async {
        let (_scene, mut ours) = cloud("front-door-enrolment").await?;
        let token = ours.token("test", "v-1").await?;
        enrol(&ours.enrolment_url(), &token).await?;
        let again = enrol(&ours.enrolment_url(), &token).await.expect_err("a used token");
        assert!(again.to_string().contains("refused"), "{again:#}");

        // A token of another cloud: the gateway must turn away before it shows the secret.
        let (_scene, mut theirs) = cloud("front-door-other-cloud").await?;
        let foreign = theirs.token("test", "v-1").await?;
        let error = enrol(&ours.enrolment_url(), &foreign).await.expect_err("a foreign token");
        assert!(!format!("{error:#}").contains("refused"), "the foreign secret was sent: {error:#}");
        enrol(&theirs.enrolment_url(), &foreign).await?;
        theirs.stop().await?;
        ours.stop().await
    });
}

#[test]
fn the_api_asks_for_a_token_everywhere_but_at_the_health_checks() {
    play(async {
        let (_scene, mut cloud) = cloud("front-door-api").await?;
        let api = cloud.api()?;
        let closed = [
            "/api/v1/vehicles",
            "/api/v1/vehicles/test/v-1",
            "/api/v1/vehicles/test/v-1/latest",
            "/api/v1/vehicles/test/v-1/positions",
            "/api/v1/vehicles/test/v-1/completeness",
            "/api/v1/session",
            "/api/v1/live",
        ];
        for path in closed {
            for token in [None, Some(""), Some("wrong")] {
                let answer = api.ask(path, token).await?;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path} with {token:?}: {}", answer.body);
                assert!(answer.content_type.starts_with("application/problem+json"), "{path}: {answer:?}");
            }
        }
        for path in ["/healthz", "/readyz"] {
            assert_eq!(api.ask(path, None).await?.status, StatusCode::OK, "{path}");
        }
        let unknown = api.ask("/api/v1/vehicles/test/nobody/latest", Some(api.token())).await?;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{}", unknown.body);
        assert!(unknown.content_type.starts_with("application/problem+json"), "{unknown:?}");
        cloud.stop().await
    });
}

#[test]
fn a_vehicle_without_a_certificate_of_ours_gets_no_welcome() {
    play(async {
        let (_scene, mut ours) = cloud("front-door-certificate").await?;
        let (_scene, mut theirs) = cloud("front-door-other-authority").await?;
        let stranger = enrol(&theirs.enrolment_url(), &theirs.token("test", "v-1").await?).await?;
        let known = enrol(&ours.enrolment_url(), &ours.token("test", "v-2").await?).await?;
        // It trusts our cloud, but its own certificate is another's.
        let stranger = hil_tests::fleet::Identity { authorities: known.authorities, ..stranger };
        let script = hil_tests::fleet::Script {
            seed: 1,
            start: 1_790_000_000_000,
            rate_hz: 10,
            speed_up: 50.0,
            batch: 5,
            fixes: Some(20),
            remember: false,
        };
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse()?)?;
        let link = ours.ports().quic.parse()?;
        let intruder =
            hil_tests::fleet::VirtualVehicle::drive_off("v-1", &stranger, endpoint.clone(), link, script)?;
        // An honest vehicle behind it comes through: the cloud is there, and it is the certificate that counts.
        let honest = hil_tests::fleet::Fleet::launch(&ours, "test", 1, link, script, |_| {}).await?;
        tokio::time::timeout(PATIENCE, honest.parked()).await?;
        assert_eq!(honest.emitted(), 20);
        assert_eq!(honest.acknowledged(), honest.emitted());
        assert_eq!(intruder.acknowledged(), 0);
        assert!(!intruder.is_linked());
        let vehicles = ours.api()?.vehicles().await?;
        assert_eq!(vehicles.len(), 1, "{vehicles:?}");
        theirs.stop().await?;
        ours.stop().await
    });
}

#[test]
fn a_simulated_drive_is_worth_testing_with() {
    // Guards the other tests: a drive that stood still would make "the vehicles move" true of nothing.
    let places: std::collections::BTreeSet<_> = Drive::seeded(1, 1_790_000_000_000, 1)
        .take(600)
        .map(|reading| (reading.latitude.mantissa(), reading.longitude.mantissa()))
        .collect();
    assert!(places.len() > 200, "{} places in ten minutes", places.len());
}
