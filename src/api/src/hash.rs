//! Names made from content: the same template gives the same name, in every process and release.

use k8s_openapi::api::core::v1::PodTemplateSpec;

use crate::names::safe_encode;

/// Characters of a hash in a name.
const LENGTH: usize = 10;

/// Hash of a pod template for the label `pod-template-hash` and for names of ReplicaSets.
///
/// It is computed from canonical JSON, so it depends on the template and on nothing else. `collisions` tells apart
/// two templates whose hashes are the same (`status.collisionCount`).
#[must_use]
pub fn pod_template(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    // A template is plain data: it always has a JSON form.
    let json = serde_json::to_vec(template).unwrap_or_default();
    let mut hash = fnv1a(&json, FNV_OFFSET);
    if let Some(count) = collisions {
        hash = fnv1a(&count.to_le_bytes(), hash);
    }
    safe_encode(hash, LENGTH)
}

pub(crate) const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// FNV-1a (draft-eastlake-fnv), continued from `hash`.
pub(crate) fn fnv1a(bytes: &[u8], hash: u64) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(image: &str) -> PodTemplateSpec {
        serde_json::from_value(serde_json::json!({"spec": {"containers": [{"name": "c", "image": image}]}}))
            .unwrap()
    }

    #[test]
    fn the_hash_is_the_same_in_every_release() {
        assert_eq!(pod_template(&template("a"), None), pod_template(&template("a"), None));
        assert_eq!(fnv1a(b"a", FNV_OFFSET), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn another_template_or_a_collision_gives_another_hash() {
        let hash = pod_template(&template("a"), None);
        assert_ne!(hash, pod_template(&template("b"), None));
        assert_ne!(hash, pod_template(&template("a"), Some(1)));
        assert_eq!(hash.len(), LENGTH);
    }
}
