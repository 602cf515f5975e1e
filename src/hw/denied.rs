//! What to do where the system doesn't let a device be opened: two refusals that read alike and need different hands.

#![forbid(unsafe_code)]

/// What systemd's device controller keeps from the service, whatever the file's mode and the user's groups.
const BY_SERVICE: &str =
    "the service may not open it: make its drop-in anew (`facelatch devices`, docs/sensors.md) and restart it";

/// What to do about a system error that says no: `by_mode` where the file's mode does, and where the service's own list
/// of devices does, that. `None` of any other error.
pub fn advice(raw_os_error: Option<i32>, by_mode: &str) -> Option<String> {
    match raw_os_error {
        Some(libc::EACCES) => Some(by_mode.to_owned()),
        Some(libc::EPERM) => Some(BY_SERVICE.to_owned()),
        _ => None,
    }
}

/// The advice for a device that the system gives to a group.
pub fn in_group(raw_os_error: Option<i32>, group: &str) -> Option<String> {
    advice(raw_os_error, &format!("add the user to group {group} (a service: SupplementaryGroups={group})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_that_says_no_wants_a_group_and_a_service_that_does_its_drop_in() {
        let say = |raw| in_group(Some(raw), "i2c");
        assert_eq!(say(libc::EACCES).unwrap(), "add the user to group i2c (a service: SupplementaryGroups=i2c)");
        let by_service = say(libc::EPERM).unwrap();
        assert!(by_service.contains("facelatch devices") && !by_service.contains("group"), "{by_service}");
        assert_eq!((say(libc::EIO), in_group(None, "i2c")), (None, None));
    }
}
