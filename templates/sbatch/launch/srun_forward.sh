# ty_forward SIGNAL: srun answers SIGTERM by killing the tasks at once, so it is never sent one. A SIGTERM from Slurm has
# reached the tasks already; what reached only this script is passed on to them, as SIGTERM.
ty_forward() {
  [[ $1 == TERM ]] || scancel --quiet --signal=TERM "$ty_slurm_job" &
}
