scontrol -o show assoc_mgr accounts=ml users=root flags=assoc
