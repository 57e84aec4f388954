sinfo -h -o '%R|%a|%l|%D|%t|%N|%G|%f|%c|%m'
