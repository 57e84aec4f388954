squeue -h -t all -j 999999 -o 'NONCE|%i|%F|%K|%A|%T|%r|%S|%e|%V|%N|%D|%P|%q|%a|%l|%C|%u|%j'
