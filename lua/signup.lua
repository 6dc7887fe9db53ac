#!lua
-- An account was made that came by this link. Who came while the link was open may sign
-- up while it is paused.
-- KEYS: the session's keys on that day.  ARGV: code, day, oldest day kept.
-- Reply: the owner's id.  Refuses: SHARED_SESSION_NOT_FOUND.
-- Race closed: a sign-up that brings a deleted session's counters back.
-- include parts/session
-- include parts/shared
-- include parts/count
if not audience then return not_shared end
count('signups', 1)
return owner
