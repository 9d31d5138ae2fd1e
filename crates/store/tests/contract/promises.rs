//! The list of promises: a back end that names itself here runs them all.

/// Makes one test of each promise, on an empty record that the expression makes.
macro_rules! every_promise {
    ($backend:expr) => {
        crate::contract::promises::promises! { $backend;
            claiming: a_claim_reads_back_whole, a_nonce_is_claimed_once_among_two_hundred,
                two_instances_do_not_both_claim_a_nonce, a_payment_buys_one_run_among_fifty_nonces,
                an_approval_is_used_once_among_fifty_nonces, a_replay_is_told_of_the_finished_run,
                approvals_are_used_together_or_not_at_all,
                a_pause_turns_new_runs_away_and_replays_not, a_payment_is_looked_at_before_an_approval,
                an_undo_frees_nonce_payment_and_approval,
                an_undo_comes_too_late_for_a_run_that_ended_or_is_another_s,
                a_claim_that_fails_leaves_nothing_and_its_neighbours_alone;
            ending: an_outcome_reads_back_whole, a_late_outcome_is_only_a_leaf,
                an_end_that_was_written_and_told_to_have_failed_is_recorded_once,
                another_instance_s_outcome_is_only_a_leaf, no_run_ends_in_execute,
                an_unknown_run_is_resolved_once, forgetting_answers_keeps_nonces_and_receipts,
                the_oldest_answers_are_forgotten_first_and_no_more_than_are_too_many;
            limits: a_limit_is_exact_among_two_hundred_of_two_instances, a_limit_without_room_leaves_nothing,
                a_replay_finds_its_run_though_the_limit_is_reached,
                an_undo_gives_back_what_was_reserved_and_an_end_does_not,
                a_new_window_starts_anew_and_never_goes_back, a_limit_in_shadow_counts_and_refuses_nobody,
                counters_of_windows_that_are_over_are_forgotten;
            money: only_an_end_of_the_money_closes_a_run, settling_moves_no_other_stage_than_witness,
                settling_a_run_that_is_not_there_is_a_fault, an_unpaid_run_takes_one_new_payment,
                money_moves_once_whoever_speaks_last, what_usage_came_to_is_durable_with_the_outcome_and_stands, a_word_about_an_earlier_payment_changes_nothing,
                holds_of_one_payer_never_exceed_what_it_has, open_holds_of_one_payer_are_counted,
                a_payer_that_failed_pays_before_the_work, money_taken_for_work_that_is_not_charged_is_a_credit,
                a_payment_whose_run_was_taken_back_serves_the_same_call_again,
                what_is_found_of_a_payment_without_a_run_is_recorded_once,
                a_payment_that_was_asked_for_is_never_forgotten,
                a_payment_that_was_left_is_closed_beside_its_run,
                every_open_payment_is_on_one_page_however_many_there_are,
                what_a_session_asked_for_is_found_again_until_it_is_taken_back,
                a_payment_that_moves_late_pays_for_its_run_or_is_a_credit,
                what_was_taken_is_looked_at_until_it_is_final_or_taken_back_for_good,
                own_runs_that_are_not_ended_are_listed_from_a_time_on;
            payers: a_payer_that_failed_is_redeemed_by_payments_before_the_work_or_by_time,
                a_payment_that_failed_by_no_fault_of_its_payer_is_not_held_against_it,
                timeouts_that_are_not_charged_are_counted_of_all_payers,
                timeouts_of_payers_who_have_paid_are_counted_of_all_of_them,
                timeouts_that_are_not_charged_are_counted_of_each_payer;
            parking: a_parked_run_reads_back_whole_and_leaves_its_leaf, a_tenant_has_at_most_half_of_all_places,
                whoever_is_to_be_told_of_a_parked_run_is_told_over_restarts,
                a_parked_run_starts_once_among_two_instances,
                a_parked_run_that_is_refused_never_starts, a_start_counts_its_limits_anew,
                an_undone_start_waits_again, a_no_during_a_start_holds_where_that_is_taken_back, parked_runs_are_bounded_by_number_and_bytes,
                what_a_person_says_is_recorded_once_and_only_while_it_waits,
                what_is_due_is_over_or_has_been_spoken_of, an_end_forgets_what_was_asked_for,
                a_page_of_parked_runs_is_of_a_tenant_or_an_owner;
            reading: pages_show_every_run_once_and_the_newest_first, a_page_is_capped,
                what_was_answered_is_read_at_once_by_every_instance, what_is_not_there_reads_as_none,
                a_closed_store_says_so_and_has_written_everything;
            living: a_living_instance_has_no_orphans,
                the_open_runs_of_a_dead_instance_are_orphans_oldest_first,
                orphans_have_one_heir_until_it_dies_too, an_instance_that_nobody_knows_is_dead,
                an_unpaid_run_is_nobodys_orphan_until_somebody_has_paid_and_died;
            grants: a_grant_reads_back_whole, an_id_is_given_once_even_after_it_was_revoked,
                a_new_key_keeps_the_one_before_and_no_other, what_is_revoked_or_missing_is_not_changed,
                rules_of_a_grant_are_kept_as_given_and_taken_away,
                every_change_is_counted_and_no_use_is,
                what_is_said_is_recorded_with_what_changed_and_never_without;
            log: leaves_stand_in_the_order_of_their_commits, a_step_is_taken_by_one_process_and_read_by_all,
                a_head_is_signed_once_and_as_it_was_committed, a_new_name_has_heads_of_its_own,
                whoever_waits_is_told_of_a_write, of_each_witness_the_largest_checkpoint_is_kept;
            own_keys: a_receipt_under_a_retired_key_is_refused_and_nothing_is_written,
                a_key_reads_back_and_is_added_once, the_newest_key_signs_and_is_not_retired,
                a_key_is_retired_once_at_the_size_that_the_log_has_then,
                keys_of_one_purpose_are_nothing_to_the_other;
            audit: a_line_of_the_trail_reads_back_whole, every_order_shows_every_line_once,
                a_query_selects_by_what_it_names, the_trail_is_cut_by_age_and_by_number;
        }

        #[test]
        fn any_walk_gives_what_the_model_gives() {
            crate::contract::walk::any_walk_gives_what_the_model_gives(|| $backend);
        }
    };
}
pub(crate) use every_promise;

macro_rules! promises {
    ($backend:expr; $($room:ident: $($promise:ident),+;)+) => {$($(
        #[test]
        fn $promise() {
            let backend = $backend;
            crate::contract::block_on(crate::contract::$room::$promise(&backend));
        }
    )+)+};
}
pub(crate) use promises;
