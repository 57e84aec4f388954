# ty_world_info: how many processes each node has, as DeepSpeed takes it: by the GPUs that they are to use. Those that Slurm
# gave this node count here; of the other nodes only how many they are.
ty_world_info() {
  local ty_gpus=${CUDA_VISIBLE_DEVICES:-} ty_commas ty_gpu ty_node ty_world=''
  ty_commas=${ty_gpus//[!,]/}
  if [[ -z $ty_gpus || $ty_gpus == *[!A-Za-z0-9,-]* ]] || ((${#ty_commas} + 1 != {{ processes_per_node }})); then
    ty_gpus=0
    for ((ty_gpu = 1; ty_gpu < {{ processes_per_node }}; ty_gpu++)); do ty_gpus+=,$ty_gpu; done
  fi
  [[ $ty_gpus != *[!0-9,]* ]] || ty_gpus=\"${ty_gpus//,/\",\"}\"
  for ty_node in $TRAINYARD_NODES; do ty_world+=",\"$ty_node\":[$ty_gpus]"; done
  printf '%s' "{${ty_world#,}}" | base64 -w 0 | tr '+/' '-_'
}
