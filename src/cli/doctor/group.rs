//! Groups of this machine: whether the daemon's user is in the one that it is to give the control socket to, and who
//! else is in the lines'.

use std::collections::BTreeSet;

const GROUPS: &str = "/etc/group";
const USERS: &str = "/etc/passwd";

/// The user of the service, as systemd/facelatch.sysusers makes it.
const USER: &str = "facelatch";

/// Whose the lines are, by systemd/60-facelatch.rules.
const GPIO: &str = "gpio";

/// What to do about a daemon that isn't a member.
pub fn join(group: &str) -> String {
    format!("add the daemon's user to it (sudo usermod -aG {group} {USER}), then restart the daemon")
}

/// The number of the group that control.group names.
pub fn gid_of(group: &str) -> Result<u32, String> {
    let gid: Option<u32> = entry(&read(GROUPS)?, group).and_then(|fields| fields.get(2)?.parse().ok());
    gid.ok_or_else(|| format!("control.group: there is no group '{group}' on this machine; make it with groupadd"))
}

/// Of the group that control.group names.
pub fn check(group: &str) -> Result<String, String> {
    gid_of(group)?;
    if is_member(USER, group, &read(USERS)?, &read(GROUPS)?) {
        Ok(format!("members of {group} may ask the daemon, and move the door"))
    } else {
        Err(format!("control.group: {USER} is not in {group} and can't give it the control socket: {}", join(group)))
    }
}

/// The complaint where others are in the group that udev's rules give the GPIO lines to.
pub fn drive_past_the_daemon() -> Option<String> {
    let [passwd, groups] = [USERS, GROUPS].map(|path| read(path).unwrap_or_default());
    let names = others(GPIO, &passwd, &groups).into_iter().collect::<Vec<_>>().join(", ");
    let says = format!(
        "in it, and so able to drive the relay past the daemon: {names}; unless they may, sudo gpasswd -d NAME {GPIO} (docs/threat-model.md)"
    );
    (!names.is_empty()).then_some(says)
}

fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

/// Everybody in the group but the daemon's user.
fn others<'a>(group: &str, passwd: &'a str, groups: &'a str) -> BTreeSet<&'a str> {
    let mut all = members(group, passwd, groups);
    all.remove(USER);
    all
}

/// Whom this machine doesn't know can't be asked for, and runs no daemon.
fn is_member(user: &str, group: &str, passwd: &str, groups: &str) -> bool {
    entry(passwd, user).is_none() || members(group, passwd, groups).contains(user)
}

/// By passwd(5) and group(5): a user's first group is in the one, the others in the other.
fn members<'a>(group: &str, passwd: &'a str, groups: &'a str) -> BTreeSet<&'a str> {
    let of_group = entry(groups, group).unwrap_or_default();
    let [_, _, gid, listed @ ..] = &of_group[..] else { return BTreeSet::new() };
    let by_first_group = entries(passwd).filter(|fields| fields.get(3) == Some(gid));
    let by_first_group = by_first_group.filter_map(|fields| fields.first().copied());
    let listed = listed.first().copied().unwrap_or_default();
    listed.split(',').chain(by_first_group).filter(|name| !name.is_empty()).collect()
}

fn entry<'a>(text: &'a str, name: &str) -> Option<Vec<&'a str>> {
    entries(text).find(|fields| fields.first().is_some_and(|first| *first == name))
}

/// The fields of each line.
fn entries(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect::<Vec<_>>())
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

    #[test]
    fn the_others_of_a_group_are_in_it_by_its_list_or_by_their_first_group() {
        let passwd = "root:x:0:0::/root:/bin/sh\nfacelatch:x:999:993::/:/bin/false\npi:x:1000:1000::/home/pi:/bin/sh\nbot:x:1001:993::/:\n";
        let groups = "root:x:0:\ngpio:x:993:pi,facelatch,ana\ngpios:x:994:ben\nempty:x:995:\nbad\n";
        let of = |group: &str| others(group, passwd, groups).into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(["gpio", "empty", "bad", "nowhere"].map(of), ["ana bot pi", "", "", ""]);
    }
}
