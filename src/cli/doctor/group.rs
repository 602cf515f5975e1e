//! Whether the daemon's user is in the group that it is to give the control socket to.

use std::path::Path;

use crate::control::server::gid_of;

/// The user of the service, as systemd/facelatch.sysusers makes it.
const USER: &str = "facelatch";

/// What to do about a daemon that isn't a member.
pub fn join(group: &str) -> String {
    format!("add the daemon's user to it (sudo usermod -aG {group} {USER}), then restart the daemon")
}

/// Of the group that control.group names.
pub fn look(group: &str) -> Result<String, String> {
    gid_of(group)?;
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).map_err(|error| format!("{path}: {error}"));
    if is_member(USER, group, &read("/etc/passwd")?, &read("/etc/group")?) {
        Ok(format!("members of {group} may ask the daemon, and move the door"))
    } else {
        Err(format!("control.group: {USER} is not in {group} and can't give it the control socket: {}", join(group)))
    }
}

/// By passwd(5) and group(5): a user's first group is in the one, the others in the other. Whom this machine doesn't know can't be
/// asked for, and runs no daemon.
fn is_member(user: &str, group: &str, passwd: &str, groups: &str) -> bool {
    let fields = |text: &str, name: &str| -> Option<Vec<String>> {
        let mut lines = text.lines().map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>());
        lines.find(|fields| fields.first().is_some_and(|first| first == name))
    };
    let Some(of_user) = fields(passwd, user) else { return true };
    let Some(of_group) = fields(groups, group) else { return false };
    let is_first = of_user.get(3).is_some_and(|gid| of_group.get(2) == Some(gid));
    is_first || of_group.get(3).is_some_and(|members| members.split(',').any(|member| member == user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_one_by_the_first_group_or_a_further_one_and_a_namesake_is_none() {
        let passwd = "root:x:0:0::/root:/bin/sh\nfacelatch:x:999:997::/var/lib/facelatch:/bin/false\n";
        let groups =
            "root:x:0:\nfacelatch:x:997:\ncards:x:1000:ana,facelatch\nothers:x:1001:facelatch2,ana\nnone:x:1002:\n";
        let is_in = |group: &str| is_member("facelatch", group, passwd, groups);
        assert_eq!(["facelatch", "cards", "others", "none", "root"].map(is_in), [true, true, false, false, false]);
        assert!(is_member("nobody-here", "others", passwd, groups), "there is nobody to be added");
    }
}
