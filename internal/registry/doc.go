// Package registry keeps models, their versions and who approved them, in a local folder.
//
// The bytes of each model are a write-once blob, named by its digest. What happens to a model is a write-once
// event, numbered and chained to the one before it by its digest. The events are the audit log, and they are
// the only state there is: versions and aliases are what the events add up to. docs/formats/registry.md
// describes the folder.
//
// # Life of a version
//
// A version is registered as a candidate and then approved or rejected, by someone and for a reason.
//
//   - Registering bytes that the model already has as a version that was not rejected returns that version.
//   - An approval says that a version may run. Which of them is to run is another decision: a promotion makes it the
//     champion, and a rollback the one before it again. The first version that is approved becomes the champion at once.
//   - A rejection is final. An approved version can be rejected too, and the champion: the model then has no
//     champion until a version is promoted, since going back to an older one is for people to decide. A retired version
//     is one that is not needed any more; approving it again brings it back.
//   - The bytes of a rejected version can be registered again; they become a new version, a candidate, which
//     needs a review of its own. Both stand in the log.
//   - @champion is the version promoted last, unless it was rejected or retired since. @candidate is the newest version
//     that waits for review, unless a newer one has been approved.
//   - Notes (tags, descriptions, other aliases) are for people and other programs. Nothing is decided by one.
//
// # Signatures
//
// A registry that is opened with a root document ([Options.Root], package trust) counts what is signed as that demands, and
// nothing else. It judges all events by the document in force whenever it reads them: a version is approved if the people
// that the policy wants have signed that very version, at that very place in the log. What does not count is passed over, and
// named by [Version.Ignored], [Version.CheckApproved] and [Registry.Verify]; a rejection, a retirement and a purge are heard
// whoever wrote them. Root documents that do not lead on from the trusted one make the whole registry one that is refused.
//
// # Concurrency and crashes
//
// Any number of processes may use a folder at once. A writer prepares the event that would come next and links
// it to its number; if another was faster, it looks at the new state and decides again. A crash leaves the
// folder as it was before an action or as it is after it; what else it can leave is a blob that no event names,
// and temporary files, which later writers remove.
package registry
