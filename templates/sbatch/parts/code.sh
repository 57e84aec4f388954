# --- The code: what was captured at submission, whole and unchanged

# ty_find_code: the run directory's `code` leads to the tree; beside that are the archive it is made from and its list.
ty_find_code() {
  local ty_link
  ty_tree=''
  [[ -L {{ files.shared }}/code ]] || return 0 # submitted by hand
  ty_link=$(readlink -- "{{ files.shared }}/code")
  ty_store={{ files.shared }}/${ty_link%/*}
  ty_tree=$ty_store/${ty_link##*/}
}

# ty_is_whole TREE: whether everything that the list names is there as it was captured. What lies there beside it does
# no harm. All captured files have one time: 2000-01-01 00:00 UTC.
ty_is_whole() {
  local ty_missing
  [[ -d $1 && -r $ty_tree.list ]] || return 1
  ty_missing=$(
    export LC_ALL=C
    comm -13 <(
      cd -- "$1" && find . -mindepth 1 \( -type d -printf 'd %P\n' \) -o \( -type l -printf 'l %P -> %l\n' \) -o \
        \( -type f -newermt @{{ code.time - 1 }} ! -newermt @{{ code.time }} -printf 'f %s %P\n' \) | sort
    ) <(grep "^[dfl] " -- "$ty_tree.list") 2>&1 | head -n 1
  )
  [[ -z $ty_missing ]]
}

# Several jobs may need the same tree at once: one makes it, the others wait for that. Where files cannot be locked each
# makes its own, and the first to put it in place has made it.
ty_get_code() {
  local ty_lock
  [[ -n $ty_tree ]] || return 0
  # Sites delete what was not used for long.
  touch -c -- "$ty_tree.tar" "$ty_tree.list" 2>/dev/null
  if ! ty_is_whole "$ty_tree"; then
    { exec {ty_lock}>>"$ty_tree.lock"; } 2>/dev/null && flock -w 900 "$ty_lock" 2>/dev/null
    ty_is_whole "$ty_tree" || ty_unpack_code
    [[ -z ${ty_lock:-} ]] || exec {ty_lock}>&-
  fi
  ty_make_work
}

ty_unpack_code() {
  local ty_new=$ty_store/.new-$ty_token.$ty_restart ty_size ty_sum # no other start has it
  [[ -r $ty_tree.tar && -r $ty_tree.list ]] ||
    ty_fail "the captured code is gone: $ty_tree.tar cannot be read on $ty_host"
  read -r _ ty_size ty_sum <"$ty_tree.list"
  [[ $(sha256sum <"$ty_tree.tar") == "$ty_sum  -" ]] ||
    ty_fail "the captured code is damaged: $ty_tree.tar is not the archive of $ty_size bytes that was written"
  if ! mkdir -- "$ty_new" || ! tar -x -C "$ty_new" --no-same-owner --no-same-permissions -f "$ty_tree.tar" ||
    ! chmod a-w -- "$ty_new"; then
    ty_remove_tree "$ty_new"
    ty_fail "the captured code cannot be unpacked in $ty_store on $ty_host"
  fi
  # One that was there is not whole; somebody may still work in it.
  [[ ! -e $ty_tree ]] || mv -T -- "$ty_tree" "$ty_new.old"
  mv -T -- "$ty_new" "$ty_tree" 2>/dev/null
  ty_remove_tree "$ty_new" "$ty_new.old"
  ty_is_whole "$ty_tree" || ty_fail "the captured code cannot be made whole in $ty_tree on $ty_host"
}

# Its directories cannot be written to.
ty_remove_tree() {
  chmod -R u+w -- "$@"
  rm -rf -- "$@"
} 2>/dev/null

{% if !is_sweep -%}
# `work/` is made once, whole or not at all, and is there for all attempts.
ty_make_work() {
  local ty_new=$ty_run_dir/.work-$ty_host-$$
  [[ ! -d $ty_run_dir/work ]] || return 0
  ty_remove_tree "$ty_run_dir"/.work-* # of an attempt that was killed just here
  if ! ty_fill_work "$ty_new" || ! mv -T -- "$ty_new" "$ty_run_dir/work"; then
    ty_remove_tree "$ty_new"
    ty_fail "the captured code cannot be put into $ty_run_dir/work on $ty_host"
  fi
}

{% if code.is_copied -%}
ty_fill_work() {
  cp -RP -- "$ty_tree" "$1" && chmod -R u+w -- "$1"
}
{%- else -%}
# ty_fill_work DIR: links to what is at the top of the tree, through `code`, so that the run directory can be moved.
ty_fill_work() (
  set -o pipefail
  mkdir -- "$1" && cd -- "$1" &&
    find ../code/ -mindepth 1 -maxdepth 1 -print0 | xargs -0 -r ln -s -t . --
)
{%- endif %}
{%- else -%}
# `work/` is there as long as a point trains. What its training wrote there stays for the next attempt; the rest is put
# there again.
ty_make_work() {
  local ty_is_new=''
  [[ -d $ty_run_dir/work ]] || ty_is_new=1
  mkdir -p -- "$ty_run_dir/work" && ty_fill_work || [[ -z $ty_is_new ]] ||
    ty_fail "the captured code cannot be put into $ty_run_dir/work on $ty_host"
}

{% if code.is_copied -%}
# Nothing is older than what was captured.
ty_fill_work() {
  cp -RP --update --preserve=timestamps -- "$ty_tree/." "$ty_run_dir/work/" && chmod -R u+w -- "$ty_run_dir/work"
}

# All captured files have one time, and so have copies that nobody changed.
ty_empty_work() {
  find "$ty_run_dir/work" -mindepth 1 -depth \( -type d -empty -o \( -type f -o -type l \) -newermt @{{ code.time - 1 }} \
    ! -newermt @{{ code.time }} \) -delete
}
{%- else -%}
# Links to what is at the top of the tree, through `code`, so that the sweep's directory can be moved.
ty_fill_work() {
  local ty_entry ty_missing=()
  for ty_entry in "$ty_sweep_dir"/code/{,.[!.],..?}*; do
    [[ -e $ty_entry || -L $ty_entry ]] || continue
    ty_entry=${ty_entry##*/}
    [[ -e $ty_run_dir/work/$ty_entry || -L $ty_run_dir/work/$ty_entry ]] || ty_missing+=("{{ files.code }}/$ty_entry")
  done
  ((${#ty_missing[@]} == 0)) || ln -s -t "$ty_run_dir/work" -- "${ty_missing[@]}"
}

# Python may have kept there what it compiled of them.
ty_empty_work() {
  find "$ty_run_dir/work" -mindepth 1 -maxdepth 1 -type l -lname '{{ files.code }}/*' -delete
  rm -rf -- "$ty_run_dir/work/__pycache__"
}
{%- endif %}
{%- endif %}
