-- What sites do to jobs at submission: this one refuses some in its own words and renames all others.
-- `up --reject` installs it.

function slurm_job_submit(job, partitions, uid)
  if job.comment == "reject-me" then
    slurm.log_user("this site refuses such jobs.\nAsk for help at the front desk (rule 7).")
    return slurm.ERROR
  end
  job.name = "site-" .. (job.name or "unnamed")
  return slurm.SUCCESS
end

function slurm_job_modify(job, record, partitions, uid)
  return slurm.SUCCESS
end

return slurm.SUCCESS
