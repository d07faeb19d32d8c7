# SPDX-License-Identifier: Apache-2.0
# Scripts of the protocol's rules with their exact traces, executed on the core alone (README.md).
check_PROGRAMS += tests/scenarios/run
TESTS += tests/scenarios/run
tests_scenarios_run_SOURCES = \
	tests/scenarios/commands.c \
	tests/scenarios/driver.c \
	tests/scenarios/env.c tests/scenarios/env.h \
	tests/scenarios/notation.c tests/scenarios/notation.h \
	tests/scenarios/script.c tests/scenarios/script.h
tests_scenarios_run_LDADD = libraft.a libcommon.a
EXTRA_DIST += tests/scenarios/README.md \
	tests/scenarios/all_faults_at_once.txt \
	tests/scenarios/append_after_compaction.txt \
	tests/scenarios/applying_window.txt \
	tests/scenarios/async_storage.txt \
	tests/scenarios/chained.txt \
	tests/scenarios/check_quorum.txt \
	tests/scenarios/check_quorum_lease.txt \
	tests/scenarios/conf_add_voter.txt \
	tests/scenarios/conf_auto_several.txt \
	tests/scenarios/conf_joint_explicit.txt \
	tests/scenarios/conf_joint_implicit.txt \
	tests/scenarios/conf_joint_needs_both.txt \
	tests/scenarios/conf_leader_lost_in_joint.txt \
	tests/scenarios/conf_one_at_a_time.txt \
	tests/scenarios/conf_own_term_first.txt \
	tests/scenarios/conf_repeated.txt \
	tests/scenarios/conf_unapplied.txt \
	tests/scenarios/conf_update.txt \
	tests/scenarios/conf_while_one_is_down.txt \
	tests/scenarios/constrained_election.txt \
	tests/scenarios/election.txt \
	tests/scenarios/election_older_log.txt \
	tests/scenarios/election_split_vote.txt \
	tests/scenarios/forget_leader.txt \
	tests/scenarios/heartbeat_commit.txt \
	tests/scenarios/inflight_window.txt \
	tests/scenarios/learner.txt \
	tests/scenarios/learner_demoted.txt \
	tests/scenarios/learner_promoted_votes.txt \
	tests/scenarios/log_conflict.txt \
	tests/scenarios/options_not_had.txt \
	tests/scenarios/prevote.txt \
	tests/scenarios/prevote_older_log.txt \
	tests/scenarios/probe_and_replicate.txt \
	tests/scenarios/probe_lost.txt \
	tests/scenarios/proposal_passed_on_once.txt \
	tests/scenarios/proposals.txt \
	tests/scenarios/quorum_loss.txt \
	tests/scenarios/read_cut_off_leader.txt \
	tests/scenarios/read_index.txt \
	tests/scenarios/read_index_alone.txt \
	tests/scenarios/read_index_duplicate.txt \
	tests/scenarios/read_index_new_leader.txt \
	tests/scenarios/remove_leader.txt \
	tests/scenarios/remove_leader_stays.txt \
	tests/scenarios/removed_is_quiet.txt \
	tests/scenarios/removed_longer_log.txt \
	tests/scenarios/restart_behind_snapshot.txt \
	tests/scenarios/single_node.txt \
	tests/scenarios/slow_follower.txt \
	tests/scenarios/snapshot.txt \
	tests/scenarios/snapshot_lost.txt \
	tests/scenarios/stale_append.txt \
	tests/scenarios/transfer.txt \
	tests/scenarios/transfer_aborted.txt \
	tests/scenarios/transfer_lagging.txt \
	tests/scenarios/transfer_refused.txt \
	tests/scenarios/transfer_unfit.txt \
	tests/scenarios/vote_survives_crash.txt
