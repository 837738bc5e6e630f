use super::*;
use crate::test_support::{folder, now};

const HOUR: Duration = Duration::from_secs(3600);

fn signer() -> Signer {
    Signer::ensure(&folder().path().join("service.key")).unwrap()
}

fn binding() -> Binding {
    let reference = |name: &str| Reference { name: name.into(), uid: format!("uid-of-{name}") };
    Binding {
        pod: Some(reference("web-1")),
        node: Some(reference("edge-1")),
        ..Binding::account("shop", reference("web"))
    }
}

#[test]
fn a_token_verifies_to_the_claims_it_was_made_with() {
    let signer = signer();
    let (token, made) = signer.issue(binding(), &[], HOUR, now()).unwrap();
    let claims = signer.verify(&token, &[], now()).unwrap();
    assert_eq!(claims, made);
    assert_eq!(claims.sub, "system:serviceaccount:shop:web");
    assert_eq!(claims.aud, [ISSUER]);
    assert_eq!(claims.exp - claims.iat, 3600);
    assert_eq!(claims.binding, binding());
    assert_eq!(claims.binding.groups(), ["system:serviceaccounts", "system:serviceaccounts:shop"]);
    assert!(signer.is_own(&token) && !signer.is_own("x.y.z"));
}

#[test]
fn the_claims_have_the_names_that_kubernetes_gives_them() {
    let (token, _) = signer().issue(binding(), &["vault".into()], HOUR, now()).unwrap();
    let part = |n: usize| {
        let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(n).unwrap()).unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()
    };
    assert_eq!(part(0)["alg"], "ES256");
    assert_eq!(part(1)["kubernetes.io"]["pod"], json!({"name": "web-1", "uid": "uid-of-web-1"}));
    assert_eq!(part(1)["kubernetes.io"]["serviceaccount"]["name"], "web");
    assert!(part(1)["kubernetes.io"].get("secret").is_none());
    assert_eq!(part(1)["aud"], json!(["vault"]));
}

#[test]
fn a_changed_token_is_refused() {
    let signer = signer();
    let (token, mut claims) = signer.issue(binding(), &[], HOUR, now()).unwrap();
    claims.sub = "system:serviceaccount:kube-system:admin".into();
    let forged = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims).unwrap());
    let parts: Vec<_> = token.split('.').collect();
    let verify = |token: &str| signer.verify(token, &[], now()).unwrap_err();
    assert_eq!(verify(&format!("{}.{forged}.{}", parts[0], parts[2])), TokenError::Signature);
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
    assert_eq!(verify(&format!("{none}.{}.{}", parts[1], parts[2])), TokenError::Signature);
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    assert_eq!(verify(&format!("{none}.{}.", parts[1])), TokenError::Malformed);
    assert_eq!(verify("nonsense"), TokenError::Malformed);
}

#[test]
fn a_token_of_another_cluster_is_refused() {
    let (token, _) = signer().issue(binding(), &[], HOUR, now()).unwrap();
    assert_eq!(signer().verify(&token, &[], now()), Err(TokenError::Signature));
}

#[test]
fn a_token_holds_between_its_dates_only() {
    let signer = signer();
    let (token, _) = signer.issue(binding(), &[], HOUR, now()).unwrap();
    assert_eq!(signer.verify(&token, &[], now() + HOUR), Err(TokenError::Expired));
    assert_eq!(signer.verify(&token, &[], now() - HOUR), Err(TokenError::NotYetValid));
    assert!(signer.verify(&token, &[], now() - Duration::from_secs(30)).is_ok());
}

#[test]
fn a_token_is_good_for_its_audiences_and_issuer_only() {
    let folder = folder();
    let path = folder.path().join("service.key");
    let signer = Signer::ensure(&path).unwrap();
    let (token, _) = signer.issue(binding(), &["vault".into()], HOUR, now()).unwrap();
    assert_eq!(signer.verify(&token, &[], now()), Err(TokenError::Audience));
    assert!(signer.verify(&token, &["other".into(), "vault".into()], now()).is_ok());
    let other = Signer::ensure(&path).unwrap().with_issuer("https://example");
    assert_eq!(other.verify(&token, &["vault".into()], now()), Err(TokenError::Issuer));
}

#[test]
fn the_key_set_verifies_tokens_and_the_key_outlives_a_restart() {
    let folder = folder();
    let path = folder.path().join("service.key");
    let signer = Signer::ensure(&path).unwrap();
    let (token, _) = signer.issue(binding(), &[], HOUR, now()).unwrap();
    let set: jsonwebtoken::jwk::JwkSet = serde_json::from_value(signer.jwks()).unwrap();
    let kid = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
    assert_eq!(kid, signer.key_id());
    let key = DecodingKey::from_jwk(set.find(&kid).unwrap()).unwrap();
    jsonwebtoken::decode::<Claims>(&token, &key, &signer.validation).unwrap();
    assert!(Signer::ensure(&path).unwrap().verify(&token, &[], now()).is_ok());
}
