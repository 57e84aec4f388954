# ty_judge_agents: torchrun ends with 1 whatever its ranks ended with, and so does what is built on it. Of the first rank of
# their node that failed its agents write the exit code, or the number of its signal as a negative one, near the log's end.
ty_judge_agents() {
  local ty_told
  ((ty_code == 1)) || return 0
  ty_told=$(tail -c 4M -- "$ty_log" 2>/dev/null |
    grep -aoEm 1 'failed \(exitcode: -?[1-9][0-9]{0,2}\) local_rank: [0-9]+ \(pid: [0-9]+\) of binary')
  [[ $ty_told =~ exitcode:\ (-?)([0-9]+) ]] || return 0
  ty_code=$((BASH_REMATCH[2] + ${#BASH_REMATCH[1]} * 128))
}
