sinfo -h -o '%R|%a'
