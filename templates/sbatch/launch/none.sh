# Once, on the first node, whose script this is.
ty_launch() {
  export RANK=0 LOCAL_RANK=0 LOCAL_WORLD_SIZE=1 NODE_RANK=0
  ty_start {% if container.is_some() %}"${ty_inside[@]}" {% endif %}"${ty_command[@]}"
}

ty_forward() { kill -TERM "$ty_training" 2>/dev/null; }
