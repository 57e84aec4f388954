#!/bin/bash
{%- for directive in directives %}
{{ directive }}
{%- endfor %}
#
# Tells what this node sees, for `trainyard site check --probe`, rendered by Trainyard. It is over within a minute and
# writes nothing but into the probe's own directory, which is removed when it has been read.

ty_dir={{ dir }}

# Until the directory is there: a file system may show it late.
for ((ty_try = 0; ty_try < 100; ty_try++)); do
  [[ ! -d $ty_dir ]] || break
  sleep 0.2
done
[[ -d $ty_dir ]] || exit {{ absent_exit }}
{ : >"$ty_dir/.report"; } 2>/dev/null || exit {{ unwritable_exit }}

ty_host=$(hostname)

# ty_tell KEY VALUE: a line of the report.
ty_tell() { printf '%s=%s\n' "$1" "${2//[$'\n\r']/ }" >>"$ty_dir/.report"; }

# ty_write NAME: a file that holds this node's time, and is there at once or not at all.
ty_write() { date +%s.%N >"$ty_dir/.new" && mv -- "$ty_dir/.new" "$ty_dir/$1"; }

# Three times there and back: whoever reads knows the way of each file by the times at both ends.
for ty_round in {{ rounds }}; do
  ty_write "node.$ty_round"
  for ((ty_try = 0; ty_try < {{ tries }}; ty_try++)); do
    [[ ! -e $ty_dir/login.$ty_round ]] || break
    sleep 0.05
  done
  [[ -e $ty_dir/login.$ty_round ]] || break
  ty_tell "seen.$ty_round" "$(date +%s.%N)"
done

ty_tell host "$ty_host"
ty_tell umask "$(umask)"
ty_tell nofile "$(ulimit -n)"
ty_tell memlock "$(ulimit -l)"
ty_tell stack "$(ulimit -s)"
{%- if let Some(root) = conda_root %}
if [[ -x {{ root }}/bin/conda ]]; then ty_tell conda yes; else ty_tell conda no; fi
{%- endif %}

# The scratch, or what is there of its path: it is made by the job that uses it.
{%- if let Some(path) = local_scratch %}
# shellcheck disable=SC2034 # the path need not name the job
ty_job_id=${SLURM_JOB_ID:-0}
ty_scratch={{ path }}
{%- else %}
ty_scratch=${TMPDIR:-/tmp}
{%- endif %}
ty_tell scratch "$ty_scratch"
ty_there=$ty_scratch
while [[ ! -e $ty_there && $ty_there == */* ]]; do ty_there=${ty_there%/*}; done
if [[ -d ${ty_there:-/} && -w ${ty_there:-/} ]]; then ty_tell scratch.writable yes; else ty_tell scratch.writable no; fi

ty_python=$(type -P python3 || type -P python)
ty_tell python "${ty_python:+$ty_python, $("$ty_python" --version 2>&1)}"

if getent hosts {{ login }} >/dev/null 2>&1; then ty_tell resolves yes; else ty_tell resolves no; fi
{%- if let Some(port) = port %}
# shellcheck disable=SC2016 # the words of the inner shell
if timeout 5 bash -c ': <"/dev/tcp/$1/$2"' bash {{ login }} {{ port }} 2>/dev/null; then
  ty_tell reaches yes
else
  ty_tell reaches no
fi
{%- endif %}

mv -- "$ty_dir/.report" "$ty_dir/report"
